package gat_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// TestPause: a login that waits for the answer to another one's question takes no
// time of its own, also when its server gives up meanwhile and it is tried again.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := over(t, waiting{gatmem.Backend{"": gatmem.New()}, time.Now().Add(5 * time.Minute)}, gat.SiteConfig{})
		began := time.Now()
		if err := s.Login(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d < 5*time.Minute || d > 6*time.Minute {
			t.Errorf("it took %v", d)
		}
	})
}

// waiting waits for an answer that comes at a time, at servers that wait for two
// minutes.
type waiting struct {
	gatmem.Backend
	answer time.Time
}

func (b waiting) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	var err error
	t.Pause(ctx, func() {
		if left := time.Until(b.answer); left > 2*time.Minute {
			if err = take(ctx, 2*time.Minute); err == nil {
				err = &gat.Error{Class: gat.Transient, Err: errors.New("the server hung up")}
			}
		} else {
			err = take(ctx, left)
		}
	})
	if err != nil {
		return nil, err
	}
	return b.Backend.Open(ctx, t)
}
