package transport

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// ask makes stripes in the background until there are so many.
func (f *flow) ask(want int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opening || len(f.stripes) > want {
		return
	}
	f.opening = f.e.spawn(func() {
		err := f.grow(want)
		f.mu.Lock()
		f.opening = false
		f.mu.Unlock()
		if err != nil && f.life.Err() == nil {
			f.e.log.Debug("no further connection for a stream", "node", f.peer.Short(), "err", err)
		}
	})
}

// grow makes the stripes that are missing, all at once.
func (f *flow) grow(want int) error {
	f.mu.Lock()
	var numbers []uint8
	for number := uint8(1); number <= wire.MaxStripes && len(f.stripes)-1+len(numbers) < want; number++ {
		if f.stripeLocked(number) == nil {
			numbers = append(numbers, number)
		}
	}
	f.mu.Unlock()
	var all errgroup.Group
	for _, number := range numbers {
		all.Go(func() error {
			s, err := f.openStripe(number)
			if err != nil {
				return err
			}
			if err := f.join(s); err != nil {
				s.pipe.reset()
				return err
			}
			return nil
		})
	}
	return all.Wait()
}

// openStripe opens a stripe to the other end of the flow.
func (f *flow) openStripe(number uint8) (*stripe, error) {
	ctx, cancel := context.WithTimeout(f.life, dialTimeout)
	defer cancel()
	w, ok := f.e.find(f.peer, wire.StreamStripe)
	if !ok {
		return nil, ErrNoRoute
	}
	o := w.open(f.peer, f.self.ID, wire.StreamStripe)
	l, err := w.by.openLane(ctx, o)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, l.reset)
	s, err := f.introduce(ctx, w.by, l, o, number)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.reset()
		return nil, err
	}
	return s, nil
}

// introduce proves the ends of a lane and says which flow it is for.
func (f *flow) introduce(ctx context.Context, by *carrier, l *lane, o *wire.Open, number uint8) (*stripe, error) {
	if err := readAccepted(l); err != nil {
		return nil, err
	}
	c, err := by.prove(ctx, l, o, f.self, true)
	if err != nil {
		return nil, err
	}
	if c.peer.ID != f.peer {
		return nil, fmt.Errorf("%w: %s answered in the place of %s", ErrUntrusted, c.peer.ID.Short(), f.peer.Short())
	}
	s := newStripe(c, number)
	begin := time.Now()
	if err := wire.WriteFrame(s, &wire.Stripe{Flow: f.name[:], Number: number}); err != nil {
		return nil, err
	}
	if err := readAccepted(s.r); err != nil {
		return nil, err
	}
	s.rtt = time.Since(begin)
	return s, nil
}

// serveStripe takes a stripe of a flow into use, and waits for the flow's end.
func (c *carrier) serveStripe(p pipe, o *wire.Open, id *Identity, release func()) error {
	ch, err := c.greet(p, o, id)
	if err != nil {
		return err
	}
	s := newStripe(ch, 0)
	m, err := wire.ReadFrame(s.r, maxAccepted)
	if err != nil {
		return fmt.Errorf("first frame of a stripe: %w", err)
	}
	hello, ok := m.(*wire.Stripe)
	if !ok {
		return fmt.Errorf("first frame of a stripe: %w: a %T", wire.ErrInvalid, m)
	}
	c.e.bulk.mu.Lock()
	f := c.e.bulk.flows[flowKey{ch.peer.ID, flowName(hello.Flow)}]
	c.e.bulk.mu.Unlock()
	if f == nil {
		_ = wire.WriteFrame(s, &wire.Accepted{Error: "no such stream"})
		_ = p.Close()
		return nil // it may just have ended
	}
	if err := accept(s); err != nil {
		return err
	}
	_ = p.SetDeadline(time.Time{})
	s.number = hello.Number
	if err := f.join(s); err != nil {
		return err
	}
	release()
	<-f.life.Done()
	return nil
}
