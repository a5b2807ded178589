//go:build linux

package pilot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// hub starts a hub and admits it; it returns the hub and who it is.
func (w *world) hub() (*process, wire.NodeID) {
	w.t.Helper()
	b := w.boot(wire.RoleHub)
	b.Socket = "hub.sock"
	if w.brief != nil {
		w.brief(&b)
	}
	p := w.start(b)
	conn, err := dialPatiently(w.t.Context(), filepath.Join(w.base, SessionDirName(session), b.Socket))
	if err != nil {
		w.t.Fatal(err)
	}
	peer, err := w.ep.Connect(w.t.Context(), conn, transport.Local, transport.Options{Admit: true})
	if err != nil || peer.Role != wire.RoleHub {
		w.t.Fatalf("connected to %+v, %v", peer, err)
	}
	return p, peer.ID
}

// ask opens a stream, says something on it and reads the answer.
func ask(ctx context.Context, ep *transport.Endpoint, to wire.NodeID, kind wire.StreamKind, m wire.Message) (*transport.Stream, wire.Message, error) {
	s, err := ep.OpenStream(ctx, to, kind)
	if err != nil {
		return nil, nil, err
	}
	s.SetDeadline(time.Now().Add(patience))
	if err := wire.WriteFrame(s, m); err != nil {
		return s, nil, err
	}
	answer, err := wire.ReadFrame(s, 0)
	return s, answer, err
}

func (w *world) listen(hub wire.NodeID, host string) *wire.Listening {
	w.t.Helper()
	s, m, err := ask(w.t.Context(), w.ep, hub, wire.StreamListen, &wire.Listen{Host: host})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Close()
	return m.(*wire.Listening)
}

// TestHub has a launcher use a hub, a pilot join and work through it, and the
// pilot refused what is the launcher's.
func TestHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, hub := w.hub()
	listening := w.listen(hub, "127.0.0.1")
	if listening.Error != "" || !strings.HasPrefix(listening.Address, "127.0.0.1:") {
		t.Fatalf("the hub listens: %+v", listening)
	}
	token := wire.Token{Name: "pilots", Secret: []byte("0123456789abcdef"), Role: wire.RolePilot, Joins: 2, TTL: time.Hour}
	w.call(func(now time.Duration, n *core.Node) error { n.Admit(now, "site", []wire.Token{token}); return nil })

	b := w.boot(wire.RolePilot)
	b.Hubs = []string{"tcp:127.0.0.1:1", "tcp:" + listening.Address}
	b.Token, b.Secret = token.Name, fmt.Sprintf("%x", token.Secret)
	pilot := w.start(b)
	w.submit(1, "echo through the hub")
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	if got := w.read("worker-0/stdout"); got != "through the hub\n" {
		t.Errorf("the worker printed %q", got)
	}
	if said := pilot.end(patience); pilot.err != nil {
		t.Errorf("the pilot ended with %v: %s", pilot.err, said)
	}

	s, err := w.ep.OpenStream(t.Context(), hub, wire.StreamLog)
	if err != nil {
		t.Fatal(err)
	}
	if log, err := io.ReadAll(s); err != nil || !strings.Contains(string(log), "listening for pilots") {
		t.Errorf("the hub's log is %q, %v", log, err)
	}
	s.Close()

	// Another pilot, in this process.
	conn, err := net.Dial("tcp", listening.Address)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := transport.Join(t.Context(), conn, transport.TCP,
		transport.JoinRequest{Pin: w.authority.Pin(), Token: token.Name, Secret: token.Secret})
	if err != nil {
		t.Fatal(err)
	}
	other, err := transport.New(transport.Config{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if conn, err = net.Dial("tcp", listening.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Connect(t.Context(), conn, transport.TCP, transport.Options{}); err != nil {
		t.Fatal(err)
	}
	for kind, m := range map[wire.StreamKind]wire.Message{
		wire.StreamDial:   &wire.Dial{Address: listening.Address},
		wire.StreamListen: &wire.Listen{Host: "127.0.0.1"},
		wire.StreamLog:    &wire.Listen{Host: "127.0.0.1"},
	} {
		if _, answer, err := ask(t.Context(), other, hub, kind, m); err == nil {
			t.Errorf("a pilot was answered %+v on a stream of kind %d", answer, kind)
		}
	}
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	other.Close()
	w.clean(p)
}

// TestHubListens has a hub asked for addresses that it may, cannot and must not
// listen on.
func TestHubListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, hub := w.hub()
	first := w.listen(hub, "127.0.0.1")
	if again := w.listen(hub, "127.0.0.1"); *again != *first {
		t.Errorf("asked again the hub listens on %+v, before on %+v", again, first)
	}
	if again := w.listen(hub, first.Address); *again != *first {
		t.Errorf("asked for %s it listens on %+v", first.Address, again)
	}
	for host, want := range map[string]string{
		"0.0.0.0":          "not the address of one interface",
		"::":               "not the address of one interface",
		"0.0.0.0:80":       "not the address of one interface",
		"::ffff:0.0.0.0":   "not the address of one interface",
		"224.0.0.1":        "not the address of one interface",
		"localhost":        "unable to parse",
		"192.0.2.1":        "cannot assign",
		"127.0.0.1:100000": "ParseAddr",
	} {
		if got := w.listen(hub, host); got.Address != "" || !strings.Contains(got.Error, want) {
			t.Errorf("listen on %q: got %+v, want an error that says %q", host, got, want)
		}
	}
	for i := 2; i <= maxListeners; i++ {
		if got := w.listen(hub, fmt.Sprintf("127.0.0.%d", i)); got.Error != "" {
			t.Errorf("listener %d: %+v", i, got)
		}
	}
	if got := w.listen(hub, "127.0.0.99"); !strings.Contains(got.Error, "listens on 8 addresses already") {
		t.Errorf("one listener too many: %+v", got)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	w.clean(p)
	if conn, err := net.Dial("tcp", first.Address); err == nil {
		conn.Close()
		t.Error("a hub that has gone is listening")
	}
}

// TestHubDials has a hub connect to hosts for a launcher, with each direction
// closed for itself.
func TestHubDials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, hub := w.hub()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "first"); err != nil {
				return err
			}
			conn.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "second" {
				return fmt.Errorf("the host got %q, %w", got, errors.Join(err))
			}
			return nil
		}()
	}()
	s, m, err := ask(t.Context(), w.ep, hub, wire.StreamDial, &wire.Dial{Address: l.Addr().String()})
	if err != nil || m.(*wire.Accepted).Error != "" {
		t.Fatalf("dial: %+v, %v", m, err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	// The host has said all; it must still hear what we say.
	if _, err := io.WriteString(s, "second"); err != nil {
		t.Error(err)
	}
	s.CloseWrite()
	if err := <-served; err != nil {
		t.Error(err)
	}
	s.Close()
	for address, want := range map[string]string{"127.0.0.1:1": "refused", "": "missing address", "/etc/passwd": "missing port", "127.0.0.1": "missing port"} {
		s, m, err := ask(t.Context(), w.ep, hub, wire.StreamDial, &wire.Dial{Address: address})
		if err != nil || !strings.Contains(m.(*wire.Accepted).Error, want) {
			t.Errorf("dial %q: %+v, %v; want an error that says %q", address, m, err, want)
		}
		s.Close()
	}
	if s, m, err := ask(t.Context(), w.ep, hub, wire.StreamDial, &wire.Listen{Host: "127.0.0.1"}); err == nil {
		t.Errorf("another question on a dial stream was answered %+v", m)
	} else {
		s.Close()
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	w.clean(p)
}
