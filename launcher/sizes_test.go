package launcher_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/launcher"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"512MiB": 512 << 20, "4GB": 4e9, "1.5 GB": 15e8, "100B": 100, "2kB": 2000, "2KB": 2000,
		"1KiB": 1024, "1TiB": 1 << 40, "0B": 0, " 3 PB ": 3e15,
	} {
		if got, err := launcher.ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "4", "4G", "GB", "-4GB", "+4GB", "1e3GB", "NaNGB", "4 G B", "9999999PB", "0x10MB", "1_0MB", "4gb"} {
		if got, err := launcher.ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9960: "10 kB", 999_499: "999 kB", 999_600: "1.0 MB", 5e9: "5.0 GB", 9e18: "9000 PB",
	} {
		if got := launcher.FormatSize(in); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "2d": 2 * day, "2d12h": 60 * time.Hour, "0.5d": 12 * time.Hour, "45s": 45 * time.Second, "0s": 0,
	} {
		if got, err := launcher.ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "90", "d", "-1h", "1h-30m", "1:30", "2dd", "x", "40000d", "NaNd", "Infd", "1d1d", "9999999h"} {
		if got, err := launcher.ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", -time.Hour: "0s", 1400 * time.Millisecond: "1s", 90 * time.Minute: "1h30m", 60 * time.Hour: "2d12h", 59*time.Second + 600*time.Millisecond: "1m",
	} {
		if got := launcher.FormatDuration(in); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", in, got, want)
		}
		if back, err := launcher.ParseDuration(want); err != nil || launcher.FormatDuration(back) != want {
			t.Errorf("ParseDuration(%q) = %v, %v", want, back, err)
		}
	}
}
