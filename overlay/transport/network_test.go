package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func TestLinkThroughHub(t *testing.T) {
	for _, test := range []string{"launcher first", "pilot first", "at once"} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
			l, p := w.launcher, w.pilot(t, transport.Config{})
			if test != "pilot first" {
				if err := l.Send(p.ID(), message(1)); err != nil {
					t.Fatal(err)
				}
			}
			if test == "launcher first" {
				p.waitMessage(l.ID(), 1)
			}
			if err := p.Send(l.ID(), message(2)); err != nil {
				t.Fatal(err)
			}
			l.waitMessage(p.ID(), 2)
			if up := l.waitUp(p.ID()); up.Direct || up.Site != "das5" || up.Role != wire.RolePilot {
				t.Errorf("launcher linked to %+v, want a pilot of das5 through the hub", up)
			}
			if err := l.Link(t.Context(), p.ID()); err != nil {
				t.Fatal(err)
			}
			for i := range int64(200) {
				if err := errors.Join(l.Send(p.ID(), message(10+i)), p.Send(l.ID(), message(10+i))); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range []*testNode{l, p} {
				other := l.ID()
				if n == l {
					other = p.ID()
				}
				n.waitMessage(other, 209)
				var ups int
				for _, ev := range n.eventsSeen() {
					if up, ok := ev.(transport.LinkUp); ok && up.Peer.ID == other {
						ups++
					}
				}
				if ups != 1 {
					t.Errorf("%d links came up, want 1", ups)
				}
			}
		})
	}
}

func TestStreamThroughHub(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{Handlers: handle(wire.StreamOutput, echo)}, transport.Config{}, nil)
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	q := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	for _, test := range []struct {
		name     string
		from, to *testNode
		kind     wire.StreamKind
	}{
		{"launcher to pilot", w.launcher, p, wire.StreamFetch},
		{"pilot to launcher", p, w.launcher, wire.StreamOutput},
		{"pilot to pilot", p, q, wire.StreamFetch},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, test.from, test.to.ID(), test.kind)
			defer s.Close()
			if s.Peer().ID != test.to.ID() || s.Peer().Direct {
				t.Errorf("peer is %+v", s.Peer())
			}
			data := make([]byte, 3<<20)
			rand.Read(data)
			errs := make(chan error, 1)
			go func() {
				_, err := s.Write(data)
				errs <- errors.Join(err, s.CloseWrite())
			}()
			got, err := io.ReadAll(s)
			if err := errors.Join(err, <-errs); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("got %d bytes back, not the %d sent", len(got), len(data))
			}
		})
	}
}

func TestRefusedStreams(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
	p := w.pilot(t, transport.Config{})
	_, err := w.launcher.OpenStream(t.Context(), p.ID(), wire.StreamDial)
	wantError(t, err, transport.ErrRefused, "not served here")
	_, err = w.launcher.OpenStream(t.Context(), wire.NodeID{1}, wire.StreamFetch)
	wantError(t, err, transport.ErrRefused, "no route")
	_, err = w.hub.OpenStream(t.Context(), wire.NodeID{1}, wire.StreamFetch)
	wantError(t, err, transport.ErrNoRoute, "")
	wantError(t, w.hub.Send(wire.NodeID{1}, message(1)), transport.ErrNoRoute, "")
	wantError(t, w.hub.Link(t.Context(), wire.NodeID{1}), transport.ErrNoRoute, "")
	if err := w.launcher.Send(wire.NodeID{1}, message(1)); err != nil {
		t.Fatal(err)
	}
	down, _ := w.launcher.waitDown(wire.NodeID{1}, 0)
	wantError(t, down.Err, transport.ErrRefused, "no route")
	wantError(t, w.launcher.Link(t.Context(), wire.NodeID{1}), transport.ErrRefused, "no route")
}

func TestReset(t *testing.T) {
	t.Parallel()
	type end struct {
		s    *transport.Stream
		done chan struct{}
	}
	accepted := make(chan end, 1)
	w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, func(_ context.Context, s *transport.Stream) {
		e := end{s, make(chan struct{})}
		accepted <- e
		<-e.done
	})})
	for _, from := range []*testNode{w.launcher, w.hub} {
		t.Run("read", func(t *testing.T) {
			s := open(t, from, p.ID(), wire.StreamFetch)
			e := <-accepted
			defer close(e.done)
			s.Reset()
			_, err := e.s.Read(make([]byte, 1))
			wantError(t, err, transport.ErrReset, "")
			_, err = s.Read(make([]byte, 1))
			wantError(t, err, transport.ErrClosed, "")
		})
		t.Run("write", func(t *testing.T) {
			s := open(t, from, p.ID(), wire.StreamFetch)
			e := <-accepted
			defer close(e.done)
			e.s.Reset()
			var err error
			for err == nil { // until the windows on the way are full, at the latest
				_, err = s.Write(make([]byte, 32<<10))
			}
			wantError(t, err, transport.ErrReset, "")
			s.Close()
		})
	}
}
