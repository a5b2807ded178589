package batch_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
)

func TestParseWalltime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1:00:00": time.Hour, "1-00:00:00": 24 * time.Hour, "2-3": 51 * time.Hour, "05:30": 330 * time.Second, "7": 7 * time.Minute, "100:00:01": 100*time.Hour + time.Second,
	} {
		if got, ok := batch.ParseWalltime(text, time.Minute); !ok || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "INFINITY", "infinite", "UNLIMITED", "N/A", "-1", "1:2:3:4", "1.5", "99999999999", "1-", ":", "999999999-0"} {
		if got, ok := batch.ParseWalltime(text, time.Minute); ok {
			t.Errorf("%q is %v, want nothing", text, got)
		}
	}
}

func TestWalltimeTexts(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		90 * time.Minute:        {"01:30:00", "1h30m"},
		time.Millisecond:        {"00:00:01", "1ms"},
		72 * time.Hour:          {"72:00:00", "3d"},
		time.Hour:               {"01:00:00", "1h"},
		25*time.Hour + 59e9 + 1: {"25:01:00", "25h0m59.000000001s"},
	} {
		if got := [2]string{batch.HMS(d), batch.Span(d)}; got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := batch.Minutes(61 * time.Second); got != 2 {
		t.Errorf("61 s are %d minutes, want 2", got)
	}
}
