package pilot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const session = wire.SessionID("abcdefgh")

func TestRenewIn(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{
		24 * time.Hour:      8 * time.Hour,
		12 * time.Hour:      4 * time.Hour,
		time.Hour:           20 * time.Minute,
		time.Minute:         time.Minute,
		0:                   time.Minute,
		-time.Hour:          time.Minute,
		30 * 24 * time.Hour: 29 * 24 * time.Hour,
		28 * time.Hour:      8 * time.Hour,
	} {
		if got := renewIn(left); got != want {
			t.Errorf("a certificate with %v left is renewed in %v, want %v", left, got, want)
		}
	}
}

// TestRenewal keeps a pilot's certificate good for a week at a hub whose own
// is renewed every 12 hours, through a day on which the hub cannot be reached.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := []byte("0123456789abcdef")
		authority, err := transport.NewAuthority(session, 0)
		if err != nil {
			t.Fatal(err)
		}
		launcher, err := authority.Identity(wire.RoleLauncher, "home")
		if err != nil {
			t.Fatal(err)
		}
		ca := authority.Signer(launcher, nil)
		join := func(ctx context.Context, s *transport.Signer, r transport.JoinRequest) (*transport.Identity, *transport.Signer, error) {
			ours, theirs := net.Pipe()
			go s.ServeJoin(ctx, theirs)
			r.Pin, r.Secret = authority.Pin(), secret
			return transport.Join(ctx, ours, transport.TCP, r)
		}
		token := transport.Token{Secret: secret, Site: "das5", Joins: 1}
		newHub := func() *transport.Signer { // as good as one that was renewed
			hub := token
			hub.Name, hub.Role = fmt.Sprint("hub", time.Now().Unix()), wire.RoleHub
			if err := ca.AddToken(hub); err != nil {
				t.Fatal(err)
			}
			_, s, err := join(t.Context(), ca, transport.JoinRequest{Token: hub.Name, WantSigner: true})
			if err != nil {
				t.Fatal(err)
			}
			pilot := token
			pilot.Name, pilot.Role = "pilot", wire.RolePilot
			if err := s.AddToken(pilot); err != nil {
				t.Fatal(err)
			}
			return s
		}
		hub := newHub()
		first, _, err := join(t.Context(), hub, transport.JoinRequest{Token: "pilot"})
		if err != nil {
			t.Fatal(err)
		}

		var mu sync.Mutex // for the race detector: the bubble's clock orders everything
		current, away, renewals, tries := first, false, 0, 0
		r := &renewal{
			log: slog.New(slog.DiscardHandler),
			join: func(ctx context.Context, id *transport.Identity) (*transport.Identity, error) {
				mu.Lock()
				defer mu.Unlock()
				if id != current {
					t.Errorf("renews %p, the identity is %p", id, current)
				}
				if tries++; away {
					return nil, errors.New("the hub is away")
				}
				again, _, err := join(ctx, hub, transport.JoinRequest{Token: "pilot", Renew: id})
				return again, err
			},
			admit: func(id *transport.Identity) error {
				mu.Lock()
				defer mu.Unlock()
				renewals++
				current = id
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); r.run(ctx, first) }()
		for hour := 1; hour <= 7*24; hour++ {
			time.Sleep(time.Hour)
			synctest.Wait()
			mu.Lock()
			away = hour >= 72 && hour < 96
			if hour%12 == 0 {
				hub = newHub()
			}
			left := current.Expires().Sub(current.Now())
			if !away && hour != 96 && left < 4*time.Hour {
				t.Errorf("after %d hours the certificate is good for %v", hour, left)
			}
			if hour == 72 {
				if renewals < 72/8 || renewals > 2*72/8 {
					t.Errorf("%d renewals in 72 hours", renewals)
				}
				tries = 0
			}
			if hour == 96 && (tries < 24*60/15 || tries > 24*60/7) {
				t.Errorf("%d tries in a day without a hub", tries)
			}
			mu.Unlock()
		}
		if current.ID != first.ID {
			t.Errorf("the pilot was %v and is %v", first.ID, current.ID)
		}
		cancel()
		<-over
	})
}

func TestLastOrders(t *testing.T) {
	t.Parallel()
	for walltime, want := range map[time.Duration][2]time.Duration{
		time.Hour:        {time.Hour - 30*time.Second, time.Hour - 20*time.Second},
		time.Minute:      {30 * time.Second, 40 * time.Second},
		30 * time.Second: {15 * time.Second, 20 * time.Second},
		0:                {0, 0},
	} {
		drain, abandon := lastOrders(walltime)
		if got := [2]time.Duration{drain, abandon}; got != want {
			t.Errorf("of a wall time of %v an agent leaves at %v, want %v", walltime, got, want)
		}
	}
	if drain, _ := lastOrders(-time.Minute); drain > 0 {
		t.Errorf("a wall time that is over is noticed in %v", drain)
	}
}
