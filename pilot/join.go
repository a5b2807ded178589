package pilot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// join gets an identity: an agent that is called waits for a launcher, others
// ask their hubs. It ends with ctx, whose cause is part of the error.
func (r *resident) join(ctx context.Context, request transport.JoinRequest, called bool) (*transport.Identity, *transport.Signer, error) {
	if called {
		return r.awaitAdmission(ctx)
	}
	wait := 3 * time.Millisecond
	var last error
	for {
		identity, err := r.joinAny(ctx, request)
		if err == nil {
			r.log.Info("joined", "id", identity.ID)
			return identity, nil, nil
		}
		if r.isHangUp(err) {
			return nil, nil, fmt.Errorf("the launcher is gone: %w", err)
		}
		if ctx.Err() == nil || last == nil {
			last = err // others only say that time is up
		}
		if ctx.Err() != nil || !pause(ctx, jitter(wait)) {
			return nil, nil, fmt.Errorf("%w before that: %w", context.Cause(ctx), last)
		}
		r.look()
		wait = min(wait*3/2, 5*time.Second)
	}
}

// look sees whether the hubs are elsewhere now: none could be reached.
func (r *resident) look() {
	if err := r.hubs.look(); err != nil {
		r.log.Debug("hubs not known", "error", err)
	}
}

// awaitAdmission waits for a launcher to come.
func (r *resident) awaitAdmission(ctx context.Context) (*transport.Identity, *transport.Signer, error) {
	for {
		select {
		case e, ok := <-r.ep.Events():
			if !ok {
				return nil, nil, transport.ErrClosed
			}
			if j, ok := e.(transport.Joined); ok {
				return j.Identity, j.Signer, nil
			}
			// The link may be reported before the admission that it needs.
			r.agent.early = append(r.agent.early, e)
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("no launcher came to admit us: %w", context.Cause(ctx))
		}
	}
}

// joinAny joins at the first hub that admits us, which is the first to be
// called from then on.
func (r *resident) joinAny(ctx context.Context, request transport.JoinRequest) (*transport.Identity, error) {
	hubs := slices.Clone(r.hubs.list())
	if len(hubs) == 0 {
		return nil, fmt.Errorf("no hub is known yet: %s", r.boot.HubsFile)
	}
	var errs []error
	for len(hubs) > 0 {
		c, err := race(ctx, hubs, dialAddress)
		if err != nil {
			errs = append(errs, err)
			break
		}
		identity, _, err := transport.Join(ctx, c.conn, c.kind, request)
		if err == nil {
			r.hubs.prefer(c.address)
			return identity, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.address, err))
		hubs = slices.DeleteFunc(hubs, func(h string) bool { return h == c.address })
	}
	return nil, errors.Join(errs...)
}

// stayAdmitted renews this agent's certificate, at any of its hubs.
func (r *resident) stayAdmitted(ctx context.Context, request transport.JoinRequest, id *transport.Identity) {
	again := renewal{
		log: r.log,
		join: func(ctx context.Context, id *transport.Identity) (*transport.Identity, error) {
			request.Renew = id
			return r.joinAny(ctx, request)
		},
		admit: func(id *transport.Identity) error { return r.agent.readmitted(r.ep, id) },
	}
	again.run(ctx, id)
}

// request is what the boot record has to show to be admitted.
func (b *Boot) request() (transport.JoinRequest, error) {
	pin, err := transport.ParsePin(b.Pin)
	if err != nil {
		return transport.JoinRequest{}, err
	}
	secret, err := hex.DecodeString(b.Secret)
	return transport.JoinRequest{
		Pin:        pin,
		Token:      b.Token,
		Secret:     secret,
		WantSigner: b.Role == wire.RoleHub.String(),
	}, err
}
