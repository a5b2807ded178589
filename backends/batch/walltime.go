package batch

import (
	"fmt"
	"strings"
	"time"
)

// Seconds returns d in seconds, rounded up.
func Seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// Minutes returns d in minutes, rounded up.
func Minutes(d time.Duration) int64 {
	return int64((d + time.Minute - 1) / time.Minute)
}

// HMS writes d as HOURS:MM:SS, rounded up to seconds.
func HMS(d time.Duration) string {
	s := Seconds(d)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// ParseWalltime reads [DAYS-]HOURS:MINUTES:SECONDS, MINUTES:SECONDS or a number of the
// given unit. Words for no limit (INFINITY, UNLIMITED, N/A...) and anything else
// give false.
func ParseWalltime(text string, unit time.Duration) (time.Duration, bool) {
	days, rest, dashed := strings.Cut(text, "-")
	if !dashed {
		days, rest = "0", text
	}
	d, ok := Number(days)
	if !ok {
		return 0, false
	}
	parts := strings.Split(rest, ":")
	var n [3]int
	if len(parts) > len(n) {
		return 0, false
	}
	for i, p := range parts {
		if n[i], ok = Number(p); !ok {
			return 0, false
		}
	}
	day := time.Duration(d) * 24 * time.Hour
	if d > 100_000 || n[0] > 100_000_000 || n[1] > 100_000_000 || n[2] > 100_000_000 {
		return 0, false
	}
	switch {
	case dashed || len(parts) == 3: // D-H[:M[:S]]
		return day + time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute + time.Duration(n[2])*time.Second, true
	case len(parts) == 2:
		return time.Duration(n[0])*time.Minute + time.Duration(n[1])*time.Second, true
	}
	return time.Duration(n[0]) * unit, true
}

// Span writes d for people: 1h30m, 2d.
func Span(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}
