package ssh_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

// farmHome makes a home whose .ssh has the farm's key and known hosts.
func farmHome(t testing.TB, f *testbed.Farm) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"id_ed25519": f.Key, "known_hosts": f.KnownHosts} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// farmTarget is a target for a host of the farm, as its user.
func farmTarget(t testing.TB, f *testbed.Farm, h *testbed.Host, home string) gat.Target {
	return gat.Target{
		Site: "test",
		URL:  &url.URL{Scheme: "ssh", User: url.User(h.User), Host: h.Addr},
		Dial: f.Dial,
		Home: home,
	}
}

func open(t testing.TB, target gat.Target) gat.Login {
	t.Helper()
	l, err := ssh.Backend{Agent: "none"}.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// siteDir makes an empty directory on the host, until the test ends.
func siteDir(t testing.TB, h *testbed.Host) string {
	t.Helper()
	dir := "/home/" + h.User + "/gattest-" + rand.Text()
	if _, err := h.ExecAs(t.Context(), h.User, "mkdir", dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := h.Exec(context.Background(), "rm", "-rf", dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestConformance(t *testing.T) {
	f := testbed.Shared(t)
	home := farmHome(t, f)
	for name, host := range map[string]*testbed.Host{"noisy": f.Plain, "quiet": f.Bastion} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			conns := map[gat.Login]net.Conn{}
			h := gattest.Harness{
				Dir:     siteDir(t, host),
				Find:    gattest.Processes,
				Foreign: "4000000000.1.00000000",
				NoSweep: true,
				Open: func(t testing.TB) gat.Login {
					target := farmTarget(t, f, host, home)
					var conn net.Conn
					target.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := f.Dial(ctx, network, addr)
						conn = c
						return c, err
					}
					l := open(t, target)
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
			}
			if host == f.Bastion {
				h.Inner = f.Inner1.Addr
			}
			gattest.Test(t, h)
		})
	}
}
