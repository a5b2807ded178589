//go:build linux

package slurm_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

func tulip() testbed.Spec {
	return testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4, Shared: "/shared"}
}

func TestRealConformance(t *testing.T) {
	c := testbed.SharedCluster(t, tulip())
	dir := "/shared/gattest"
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "mkdir", dir); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	conns := map[gat.Login]net.Conn{}
	gattest.Test(t, gattest.Harness{
		Dir:     dir,
		Find:    gattest.Processes,
		Foreign: "4000000000",
		NoSweep: true,
		Open: func(t testing.TB) gat.Login {
			target := c.Target(t, "slurm+ssh", c.Head)
			target.PollEvery = 200 * time.Millisecond
			var conn net.Conn
			target.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				var err error
				conn, err = c.Dial(ctx, network, addr)
				return conn, err
			}
			l, err := batch.New(slurm.Dialect(), ssh.Backend{Agent: "none"}).Open(t.Context(), target)
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
		Inner: c.Nodes[0].Addr,
	})
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "rm", "-r", dir); err != nil {
		t.Fatal(err)
	}
	c.NoLeftovers(t)
}
