package queuetest

import (
	"context"
	"net"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

// Conformance puts the backend through [gattest.Test].
func Conformance(t *testing.T, h Harness) {
	c := h.Cluster
	dir := path.Join(c.SharedDir(), "gattest")
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "mkdir", dir); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	conns := make(map[gat.Login]net.Conn)
	gattest.Test(t, gattest.Harness{
		Dir:     dir,
		Find:    gattest.Processes,
		Foreign: h.Foreign,
		NoSweep: true,
		Inner:   c.Nodes[0].Addr,
		Open: func(t testing.TB) gat.Login {
			target := c.Target(t, h.Scheme, c.Head)
			target.PollEvery = 200 * time.Millisecond
			var conn net.Conn
			target.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				var err error
				conn, err = c.Dial(ctx, network, addr)
				return conn, err
			}
			l, err := h.Backend.Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			conns[l] = conn
			return l
		},
		Break: func(_ testing.TB, l gat.Login) {
			mu.Lock()
			defer mu.Unlock()
			conns[l].Close()
		},
	})
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "rm", "-r", dir); err != nil {
		t.Fatal(err)
	}
	c.NoLeftovers(t)
}
