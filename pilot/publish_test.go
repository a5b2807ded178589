//go:build linux

package pilot

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// publisher starts and admits a hub that publishes its addresses.
func (w *world) publisher(lease time.Duration, files ...string) (*process, wire.NodeID) {
	w.t.Helper()
	b := w.boot(wire.RoleHub)
	b.Socket, b.Publish, b.Lease = "hub.sock", files, Duration(lease)
	os.Remove(filepath.Join(w.base, SessionDirName(session), b.Socket)) // of one that was killed
	p := w.start(b)
	conn, err := dialPatiently(w.t.Context(), filepath.Join(w.base, SessionDirName(session), b.Socket))
	if err != nil {
		w.t.Fatal(err)
	}
	peer, err := w.ep.Connect(w.t.Context(), conn, transport.Local, transport.Options{Admit: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return p, peer.ID
}

// TestToward has a hub asked to listen where it would call a host from.
func TestToward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, hub := w.hub()
	for host, want := range map[string]string{"127.0.0.1": "127.0.0.1", "127.1.2.3": "127.0.0.1", "::ffff:127.0.0.1": "127.0.0.1"} {
		s, m, err := ask(t.Context(), w.ep, hub, wire.StreamListen, &wire.Listen{Toward: host})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		got := m.(*wire.Listening)
		if at, _, err := net.SplitHostPort(got.Address); err != nil || at != want {
			t.Errorf("toward %s the hub listens on %+v, want %s", host, got, want)
		}
	}
	s, m, err := ask(t.Context(), w.ep, hub, wire.StreamListen, &wire.Listen{Toward: "no such host"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := m.(*wire.Listening); got.Address != "" || got.Error == "" {
		t.Errorf("toward a host that is not there the hub listens: %+v", got)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	w.clean(p)
}

// TestPublish has a pilot find its hub by a file only, lose it, and find the
// next one.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "boot-1.hubs")
	b := w.boot(wire.RolePilot)
	token := wire.Token{Name: "pilots", Secret: []byte("0123456789abcdef"), Role: wire.RolePilot, Joins: 2, TTL: time.Hour}
	b.Token, b.Secret = token.Name, fmt.Sprintf("%x", token.Secret)
	b.Hubs, b.HubsFile, b.Idle = nil, file, Duration(core.Forever)
	b.Base, b.Scratch = "", t.TempDir()
	pilot := w.start(b) // before there is any hub

	first, hub := w.publisher(patience, file, filepath.Join(t.TempDir(), "no", "such", "directory"))
	w.call(func(now time.Duration, n *core.Node) error { n.Admit(now, "site", []wire.Token{token}); return nil })
	at := w.listen(hub, "127.0.0.1").Address
	want := "tcp:" + at + "\n"
	text, err := os.ReadFile(file)
	if info, e := os.Stat(file); err != nil || e != nil || string(text) != want || info.Mode().Perm() != 0o600 {
		t.Fatalf("the hub's file says %q, %v; want %q", text, err, want)
	}
	wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })

	first.cmd.Process.Kill()
	first.end(patience)
	if err := os.WriteFile(file, []byte("nonsense\nunix:/tmp/x\n"+want), 0o600); err != nil {
		t.Fatal(err)
	}
	second, again := w.publisher(patience, file)
	w.call(func(now time.Duration, n *core.Node) error { n.Gone(now, hub, "it was killed"); return nil })
	until(t, "the file is written again", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(text), "tcp:127.0.0.1:") && !strings.Contains(string(text), "nonsense")
	})
	if got := w.listen(again, at); got.Address != at {
		t.Errorf("the next hub listens on %+v, want %s again", got, at)
	}
	w.submit(1, "true")
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	for _, p := range []*process{pilot, second} {
		if said := p.end(patience); p.err != nil {
			t.Errorf("an agent ended with %v: %s", p.err, said)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
}

// TestAbolish has a launcher vanish for good: its hub removes what it shared.
func TestAbolish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := filepath.Join(t.TempDir(), BaseName(os.Getuid()))
	shared, other := filepath.Join(base, SessionDirName(session)), t.TempDir()
	for _, dir := range []string{base, shared} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	touch(t, filepath.Join(shared, "pilot"))
	touch(t, filepath.Join(other, "mine"))
	p, _ := w.publisher(2*time.Second, filepath.Join(shared, "boot-1.hubs"), filepath.Join(other, "x.hubs"))
	w.hangUp()
	if said := p.end(patience); p.err != nil {
		t.Errorf("the hub ended with %v: %s", p.err, said)
	}
	if !isGone(base) {
		t.Errorf("of what was shared there is left %q", names(t, shared))
	}
	if isGone(filepath.Join(other, "mine")) {
		t.Error("a directory that is not the session's was removed")
	}
}

func TestReadHubs(t *testing.T) {
	t.Parallel()
	write := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "hubs")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(write("tcp:h:1\n", 0o600), link); err != nil {
		t.Fatal(err)
	}
	many := ""
	for i := range 100 {
		many += fmt.Sprintf("tcp:h:%d\n", i)
	}
	for name, c := range map[string]struct {
		path string
		want int // hubs; -1: an error
	}{
		"two":            {write("tcp:h:1\n tcp:[::1]:2 \r\n\n# x\ntcp:h:1\nunix:/x\ntcp:", 0o600), 2},
		"empty":          {write("", 0o600), 0},
		"no end of it":   {write(many, 0o600), 64},
		"one long line":  {write("tcp:h:1\n"+strings.Repeat("x", 1<<20), 0o600), 1},
		"others write":   {write("tcp:h:1\n", 0o622), -1},
		"a link":         {link, -1},
		"a directory":    {t.TempDir(), -1},
		"not there":      {"/no/such/file", -1},
		"others read it": {write("tcp:h:1\n", 0o644), 1},
	} {
		got, err := readHubs(c.path)
		if (err != nil) != (c.want < 0) || err == nil && len(got) != c.want {
			t.Errorf("%s: %q, %v; want %d", name, got, err, c.want)
		}
	}
	h := hubList{told: []string{"tcp:a:1", "tcp:b:2"}, file: write("tcp:c:3\ntcp:b:2\n", 0o600)}
	if d := cmp.Diff([]string{"tcp:a:1", "tcp:b:2"}, h.list()); d != "" {
		t.Errorf("at first (-want +got):\n%s", d)
	}
	if err := h.look(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"tcp:c:3", "tcp:b:2", "tcp:a:1"}, h.list()); d != "" {
		t.Errorf("after a look (-want +got):\n%s", d)
	}
	os.Remove(h.file)
	if err := h.look(); err == nil || len(h.list()) != 3 {
		t.Errorf("without the file: %v, %q", err, h.list())
	}
}
