//go:build linux

package ssh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

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

func TestFarmJump(t *testing.T) {
	f := testbed.Shared(t)
	target := farmTarget(t, f, f.Inner1, farmHome(t, f))
	target.URL.RawQuery = "jump=" + f.Bastion.User + "@" + f.Bastion.Addr
	if out, _, _ := run(t, open(t, target), "hostname"); strings.TrimSpace(out) != f.Inner1.Name {
		t.Errorf("logged in to %q, want %s", out, f.Inner1.Name)
	}
}

func TestFarmForbidsForwarding(t *testing.T) {
	f := testbed.Shared(t)
	l := open(t, farmTarget(t, f, f.NoForward, farmHome(t, f)))
	_, err := l.(gat.Inward).Inner(t.Context(), f.Inner3.Addr, nil)
	if !errors.Is(err, gat.ErrForwarding) {
		t.Fatalf("%v is no ErrForwarding", err)
	}
	// A command at the host makes the connection instead.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(addr)
		p, err := l.(gat.Runner).Run(context.WithoutCancel(ctx), gat.Command{Argv: []string{"bash", "-c",
			`exec 3<>"/dev/tcp/$0/$1"; cat <&3 & exec cat >&3`, host, port}})
		if err != nil {
			return nil, err
		}
		return &processConn{Process: p}, nil
	}
	in, err := l.(gat.Inward).Inner(t.Context(), f.Inner3.Addr, dial)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if out, _, _ := run(t, in, "hostname"); strings.TrimSpace(out) != f.Inner3.Name {
		t.Errorf("logged in to %q, want %s", out, f.Inner3.Name)
	}
}

// processConn is a connection over the standard streams of a process.
type processConn struct {
	gat.Process
	net.Conn // nil: only the methods below are used
}

func (c *processConn) Read(p []byte) (int, error)  { return c.Stdout().Read(p) }
func (c *processConn) Write(p []byte) (int, error) { return c.Stdin().Write(p) }
func (c *processConn) Close() error                { return c.Process.Close() }
func (c *processConn) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (c *processConn) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

func TestFarmDenied(t *testing.T) {
	f := testbed.Shared(t)
	t.Run("wrong key", func(t *testing.T) {
		home := farmHome(t, f)
		fp := writeKey(t, home, "id_ed25519", newRawKey(t, "ed25519"), "")
		refused(t, ssh.Backend{}, farmTarget(t, f, f.Plain, home), gat.Denied, "permission denied", fp)
	})
	t.Run("wrong user", func(t *testing.T) {
		target := farmTarget(t, f, f.Plain, farmHome(t, f))
		target.URL.User = url.User("mallory")
		refused(t, ssh.Backend{}, target, gat.Denied, "mallory", "right user name")
	})
	t.Run("too many keys", func(t *testing.T) {
		ring := agent.NewKeyring()
		for range 8 {
			if err := ring.Add(agent.AddedKey{PrivateKey: newRawKey(t, "ed25519")}); err != nil {
				t.Fatal(err)
			}
		}
		path := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })
		home := farmHome(t, f)
		target := farmTarget(t, f, f.Plain, home)
		refused(t, ssh.Backend{Agent: path}, target, gat.Denied, "fewer keys", "?identity=", "IdentitiesOnly")
		target.URL.RawQuery = "identity=~/.ssh/id_ed25519"
		login(t, ssh.Backend{Agent: path}, target)
	})
	t.Run("changed host key", func(t *testing.T) {
		home := farmHome(t, f)
		if err := os.Remove(filepath.Join(home, ".ssh", "known_hosts")); err != nil {
			t.Fatal(err)
		}
		addLine(t, home, knownhosts.Line([]string{f.Plain.Addr}, newKey(t, "ed25519").PublicKey()))
		refused(t, ssh.Backend{}, farmTarget(t, f, f.Plain, home), gat.Denied, "changed", "known_hosts:1", "ssh-keygen -f")
	})
	t.Run("nothing listens", func(t *testing.T) {
		target := farmTarget(t, f, f.Plain, farmHome(t, f))
		target.URL.Host += ":23"
		refused(t, ssh.Backend{}, target, gat.Transient, "connection refused", "is 23 the right port")
	})
}

func TestFarmCut(t *testing.T) {
	f := testbed.SSH(t)
	target := farmTarget(t, f, f.Plain, farmHome(t, f))
	b := ssh.Backend{KeepAlive: 300 * time.Millisecond, Timeout: time.Second}
	l := login(t, b, target)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("a cut connection goes unnoticed")
	}
	if code, err := p.Wait(); code != -1 || gat.ClassOf(err) != gat.Transient {
		t.Errorf("the process over the cut connection ended with %d, %v", code, err)
	}
	refused(t, b, target, gat.Transient, "timed out", "22")
	if err := f.Plain.Restore(); err != nil {
		t.Fatal(err)
	}
	l = login(t, ssh.Backend{}, target)
	if all, err := l.Status(t.Context(), ids...); err != nil || all[0].State != gat.Running {
		t.Errorf("after the cut the job is %v, %v", all, err)
	}
	if err := l.Cancel(t.Context(), ids...); err != nil {
		t.Error(err)
	}
}

func TestFarmDiskFull(t *testing.T) {
	f := testbed.SSH(t)
	f.Bastion.Scratch(t, "/full", 1<<20, false)
	home := farmHome(t, f)
	l := open(t, farmTarget(t, f, f.Bastion, home))
	for _, mode := range []os.FileMode{0o644, 0o600} { // by sftp and by the shell
		err := l.(gat.Files).Put(t.Context(), "/full/file", mode, bytes.NewReader(make([]byte, 3<<20)))
		if err == nil || gat.ClassOf(err) != gat.Permanent || !strings.Contains(err.Error(), "full") {
			t.Errorf("mode %v: %v", mode, err)
		}
		if out, _, _ := run(t, l, "ls", "-A", "/full"); out != "" {
			t.Errorf("mode %v leaves %q", mode, out)
		}
	}
}
