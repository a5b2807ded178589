package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits of what can be capped.
const (
	MinCPU  = 10          // thousandths of a core: a hub's own needs
	MaxCPU  = 1024 * 1000 // more cores than hosts have
	MinRate = 64 << 10    // bytes per second: less would hardly carry what nodes say to each other
	MaxRate = 1e12
	MinTime = time.Minute
	MaxTime = 10 * 365 * 24 * time.Hour
)

// ParseCPU reads a share of one core, such as "10%" or "250%", which is two and
// a half cores, in thousandths of a core.
func ParseCPU(s string) (int, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		return 0, fmt.Errorf(`%q has no %%; write a part of one core, such as "10%%", or "200%%" for two`, shorten(s))
	}
	n, err := parseNumber(number)
	switch {
	case err != nil:
		return 0, fmt.Errorf(`%q is not a part of a core; write for example "10%%"`, shorten(s))
	case n*10 < MinCPU:
		return 0, fmt.Errorf(`%q is less than the 1%% of a core that a hub takes for itself; %s`, shorten(s), insteadOfNothing)
	case n*10 > MaxCPU:
		return 0, fmt.Errorf(`%q is more than %d cores`, shorten(s), MaxCPU/1000)
	}
	return int(n*10 + 0.5), nil
}

// insteadOfNothing is what to write by those who want none of it.
const insteadOfNothing = `to have none at all write hub = "none" in a sites file, deny = true in a policy`

// FormatCPU writes thousandths of a core as [ParseCPU] reads them.
func FormatCPU(n int) string { return strconv.FormatFloat(float64(n)/10, 'f', -1, 64) + "%" }

// rates are the units of bandwidths.
var rates = [...]struct {
	name  string
	bytes float64
}{
	{"kB/s", 1e3}, {"KB/s", 1e3}, {"MB/s", 1e6}, {"GB/s", 1e9},
	{"KiB/s", 1 << 10}, {"MiB/s", 1 << 20}, {"GiB/s", 1 << 30}, {"B/s", 1},
}

// ParseRate reads a bandwidth such as "10MB/s", in bytes per second.
func ParseRate(s string) (int64, error) {
	t := strings.TrimSpace(s)
	cut := strings.LastIndexAny(t, "0123456789.") + 1
	n, err := parseNumber(t[:cut])
	unit := strings.TrimSpace(t[cut:])
	if err != nil {
		return 0, fmt.Errorf(`%q is not a bandwidth; write for example "10MB/s"`, shorten(s))
	}
	for _, u := range rates {
		switch v := n * u.bytes; {
		case u.name != unit:
			continue
		case v < MinRate:
			return 0, fmt.Errorf(`%q is less than 64 KiB/s, which nodes need to talk to each other; %s`, shorten(s), insteadOfNothing)
		case v > MaxRate:
			return 0, fmt.Errorf("%q is more than 1000 GB/s", shorten(s))
		default:
			return int64(v + 0.5), nil
		}
	}
	if !strings.HasSuffix(unit, "/s") {
		return 0, fmt.Errorf(`%q has no /s; write bytes per second, such as "10MB/s"`, shorten(s))
	}
	return 0, fmt.Errorf(`%q has the unknown unit %q; known are kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s`, shorten(s), shorten(unit))
}

// FormatRate writes bytes per second for people.
func FormatRate(n int64) string {
	v, unit := float64(n)/1e3, "kB/s"
	for _, next := range []string{"MB/s", "GB/s"} {
		if v >= 1000 {
			v, unit = v/1e3, next
		}
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " " + unit
}

// ParseTime reads a time such as "90m", "12h" or "7d".
func ParseTime(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	wrong := fmt.Errorf(`%q is not a time; write a number and a unit, such as "90m", "12h" or "7d"`, shorten(s))
	var d time.Duration
	if head, tail, ok := strings.Cut(t, "d"); ok {
		n, err := parseNumber(head)
		if err != nil || n > 1e5 {
			return 0, wrong
		}
		d, t = time.Duration(n*24*float64(time.Hour)), tail
	}
	if t != "" || d == 0 {
		rest, err := time.ParseDuration(t)
		if err != nil || strings.ContainsAny(t, "+-") {
			return 0, wrong
		}
		d += min(rest, 2*MaxTime)
	}
	switch {
	case d < MinTime:
		return 0, fmt.Errorf("%q is less than a minute; to allow nothing write deny = true", shorten(s))
	case d > MaxTime:
		return 0, fmt.Errorf("%q is more than ten years", shorten(s))
	}
	return d, nil
}

// FormatTime writes a time as [ParseTime] reads it, to the second.
func FormatTime(d time.Duration) string {
	d = d.Round(time.Second)
	var b strings.Builder
	for _, u := range [...]struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}

// parseNumber reads digits, with a point among them or not.
func parseNumber(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789.") != "" || len(s) > 20 {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}
