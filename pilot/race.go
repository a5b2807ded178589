package pilot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
)

// raceStep is how long a call to a hub is waited for before the next one is
// called, too: an address that nothing answers at, not even that nobody is
// there, must not keep a pilot from the others.
const raceStep = 250 * time.Millisecond

// A called is a connection to a hub, or why there is none.
type called struct {
	address string
	conn    net.Conn
	kind    transport.CarrierKind
	err     error
}

// race calls hubs, in order, each when the one before has failed or not answered
// for a while, and returns the first connection. The error tells of each hub.
func race(ctx context.Context, addresses []string, dial func(ctx context.Context, address string) (net.Conn, transport.CarrierKind, error)) (called, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answers := make(chan called)
	step := time.NewTimer(0)
	defer step.Stop()
	var errs []error
	for next, out := 0, 0; next < len(addresses) || out > 0; {
		turn := step.C
		if next == len(addresses) {
			turn = nil
		}
		select {
		case <-turn:
			address := addresses[next]
			next++
			out++
			go func() {
				c := called{address: address}
				c.conn, c.kind, c.err = dial(ctx, address)
				select {
				case answers <- c:
				case <-ctx.Done(): // another one was first
					if c.err == nil {
						c.conn.Close()
					}
				}
			}()
			step.Reset(raceStep)
		case c := <-answers:
			out--
			if c.err == nil {
				return c, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", c.address, c.err))
			step.Reset(0)
		case <-ctx.Done():
			return called{}, errors.Join(append(errs, ctx.Err())...)
		}
	}
	return called{}, errors.Join(errs...)
}
