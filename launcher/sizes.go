package launcher

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units of sizes. The empty unit is for zero only.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"B", 1},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50},
}

// ParseSize reads a number of bytes with its unit, such as "512MiB", "4GB" or
// "1.5 GB". kB, MB, GB, TB and PB are powers of 1000, KiB, MiB, GiB, TiB and
// PiB powers of 1024. A number without a unit is refused: nobody agrees on
// what it means.
func ParseSize(s string) (int64, error) {
	t := strings.TrimSpace(s)
	cut := strings.LastIndexAny(t, "0123456789.") + 1
	number, unit := t[:cut], strings.TrimSpace(t[cut:])
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "+-eExX_") || math.IsInf(n, 0) {
		return 0, fmt.Errorf(`%q is not a size; write a number and a unit, such as "512MiB" or "4GB"`, s)
	}
	if unit == "" {
		return 0, fmt.Errorf(`%q has no unit; write "%sMB", "%sGB" or another of kB, MB, GB, TB, KiB, MiB, GiB, TiB`, s, number, number)
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		v := n * u.bytes
		if v >= 1<<62 {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return int64(math.Round(v)), nil
	}
	return 0, fmt.Errorf("%q has the unknown unit %q; known are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB", s, unit)
}

// FormatSize writes a number of bytes for people, with three digits at most,
// in powers of 1000.
func FormatSize(n int64) string {
	const units = "kMGTP"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n) / 1000
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, units[i])
	}
	return fmt.Sprintf("%.0f %cB", v, units[i])
}

// ParseDuration reads a time such as "90m", "1h30m", "45s" or "2d12h": numbers
// with the units d (24 hours), h, m, s and ms, the largest first. It is never
// negative.
func ParseDuration(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	wrong := fmt.Errorf(`%q is not a time; write a number and a unit, such as "90m", "1h30m" or "2d"`, s)
	if t == "" || strings.ContainsAny(t, "+-") {
		return 0, wrong
	}
	if _, err := strconv.ParseFloat(t, 64); err == nil {
		return 0, fmt.Errorf(`%q has no unit; write "%sm" for minutes, "%sh" for hours or "%sd" for days`, s, t, t, t)
	}
	var days float64
	if head, tail, ok := strings.Cut(t, "d"); ok {
		var err error
		if days, err = strconv.ParseFloat(head, 64); err != nil || !(days <= 36500) { // NaN too
			return 0, wrong
		}
		t = tail
	}
	var rest time.Duration
	if t != "" {
		var err error
		if rest, err = time.ParseDuration(t); err != nil {
			return 0, wrong
		}
	}
	total := days*float64(24*time.Hour) + float64(rest)
	if total > float64(36500*24*time.Hour) {
		return 0, fmt.Errorf("%q is more than a hundred years", s)
	}
	return time.Duration(days*float64(24*time.Hour)) + rest, nil
}

// FormatDuration writes a time as [ParseDuration] reads it, to the second: "45s",
// "1h30m", "2d12h".
func FormatDuration(d time.Duration) string {
	d = d.Round(time.Second)
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}
