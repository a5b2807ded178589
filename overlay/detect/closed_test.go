package detect_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/detect"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// unwell returns a hub that has run late until it thinks the worst of itself,
// and the time.
func unwell() (*detect.Detector, time.Duration) {
	d := alone(2)
	var now time.Duration
	for d.Health() < wire.MaxHealth {
		now = d.Next() + 300*time.Millisecond
		d.Tick(now)
		for _, n := range []int{2, 10, 11} {
			d.Heard(now, id(n))
		}
	}
	d.Ready()
	return d, now
}

// TestClosedUnwell holds that a hub which always runs late, and thinks the
// worst of itself, declares a pilot dead within 10 seconds of the end of its
// connection, and not before one that merely starves would be back.
func TestClosedUnwell(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond} {
		d, now := unwell()
		d.LinkDown(now, id(10))
		from := now
		for {
			now = d.Next() + late
			d.Tick(now)
			d.Heard(now, id(2))
			d.Heard(now, id(11))
			if fx := d.Ready(); len(fx.Deaths) > 0 || now-from > time.Minute {
				break
			}
		}
		if took := now - from; took < 8*time.Second || took > 10*time.Second {
			t.Errorf("%v late each time: dead after %v, want 8 to 10 seconds", late, took)
		}
	}
}

// TestClosedStalled holds that a hub which itself stood still after the end of
// a connection gives the pilot time to come back before it decides.
func TestClosedStalled(t *testing.T) {
	t.Parallel()
	d, now := unwell()
	d.LinkDown(now, id(10))
	now += 12 * time.Second
	d.Tick(now)
	if fx := d.Ready(); len(fx.Deaths) > 0 {
		t.Fatal("the first thing that it does when it runs again is to declare a pilot dead")
	}
	for end := now + 3*time.Second; now < end; {
		now = d.Next()
		d.Tick(now)
		d.Heard(now, id(2))
		d.Heard(now, id(11))
	}
	d.LinkUp(now, id(10), wire.RolePilot)
	if fx := drive(d, &now, now+30*time.Second, id(2), id(10), id(11)); len(fx.Deaths) > 0 || len(d.Ready().Deaths) > 0 {
		t.Errorf("a pilot that came back is dead: %v", fx.Deaths)
	}
}
