//go:build linux

package pilot

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// wide is a world on a WAN: its hubs and pilots are the real program on the
// hosts, and the primary, in this process, is at the client, from which it
// reaches hubs over ssh.
type wide struct {
	*world
	net  *testbed.WAN
	base string
}

// hostProgram is where the hosts have the pilot.
const hostProgram = "/usr/local/bin/zorilla-pilot"

// hostUser is what a host's user is called, and where agents live there.
const hostUser, hostUID = "alice", 20001

// newWide starts the program's build and the WAN. A nil log discards.
func newWide(t *testing.T, log *slog.Logger, places ...testbed.Place) *wide {
	t.Helper()
	net := testbed.WideArea(t, places...) // first of all: it may skip the test
	w := &wide{world: newLoggedWorld(t, log), net: net, base: filepath.Join("/tmp", BaseName(hostUID))}
	path := filepath.Join(t.TempDir(), "zorilla-pilot")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/zorilla-grid/zorilla/cmd/zorilla-pilot")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the pilot: %v: %s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range net.Hosts() {
		if err := h.WriteFile(hostProgram, program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.showLogs()
		}
	})
	return w
}

// showLogs logs the ends of the logs of the agents that live.
func (w *wide) showLogs() {
	for _, h := range w.net.Hosts() {
		out, err := h.Exec(context.Background(), "sh", "-c", "tail -n 40 "+w.base+"/s-*/log-* /tmp/kept/log-* 2>/dev/null; :")
		if err == nil && len(out) > 0 {
			w.t.Logf("agents on %s:\n%s", h.Name, out)
		}
	}
}

// site is a part of the session: a hub on a head, and who may join there.
type site struct {
	*testbed.Site
	hub     *process
	id      wire.NodeID // the hub's
	address string      // that it listens on for the site's pilots
	token   wire.Token
}

// startHub starts a hub on the head of a site, and connects to it over ssh.
func (w *wide) startHub(ctx context.Context, at *testbed.Site) (*site, error) {
	s := &site{Site: at, token: wire.Token{Name: rand.Text(), Secret: secret(), Role: wire.RolePilot, Joins: 1000, TTL: time.Hour}}
	admit := transport.Token{Name: rand.Text(), Secret: secret(), Role: wire.RoleHub, Site: at.Name, Joins: 1}
	if err := w.signer.AddToken(admit); err != nil {
		return nil, err
	}
	b := w.bootOn(at.Head, at.Name, wire.RoleHub, admit.Name, admit.Secret)
	b.Socket = "hub.sock"
	var err error
	if s.hub, err = w.startOn(at.Head, b); err != nil {
		return nil, err
	}
	bridge := w.net.Command(context.WithoutCancel(ctx), "ssh", "-F", w.net.SSHConfig, at.Head.Name,
		hostProgram+" attach "+filepath.Join(w.base, SessionDirName(session), b.Socket))
	conn, err := newPipeConn(bridge)
	if err != nil {
		return nil, err
	}
	peer, err := w.ep.Connect(ctx, conn, transport.Local, transport.Options{Admit: true})
	if err != nil {
		return nil, fmt.Errorf("connect to the hub of %s: %w", at.Name, err)
	}
	s.id = peer.ID
	w.agent.Do(func(now time.Duration, n *core.Node) { n.Admit(now, at.Name, []wire.Token{s.token}) })
	host := at.Head.InnerAddr
	if host == "" {
		host = at.Head.Addr
	}
	s.address, err = w.listenAt(ctx, s.id, host)
	return s, err
}

// listenAt has a hub listen for its site's pilots.
func (w *wide) listenAt(ctx context.Context, hub wire.NodeID, host string) (string, error) {
	s, err := w.ep.OpenStream(ctx, hub, wire.StreamListen)
	if err != nil {
		return "", err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(patience))
	if err := wire.WriteFrame(s, &wire.Listen{Host: host}); err != nil {
		return "", err
	}
	m, err := wire.ReadFrame(s, 0)
	if err != nil {
		return "", err
	}
	answer, ok := m.(*wire.Listening)
	if !ok || answer.Error != "" {
		return "", fmt.Errorf("the hub answered %+v", m)
	}
	return answer.Address, nil
}

// startPilot starts a pilot of a site on a host that reaches the site's hub.
func (w *wide) startPilot(s *site, h *testbed.Host, name string, slots int) (*process, error) {
	b := w.bootOn(h, s.Name, wire.RolePilot, s.token.Name, s.token.Secret)
	b.Hubs, b.Name, b.Slots = []string{"tcp:" + s.address}, name, slots
	return w.startOn(h, b)
}

func secret() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

func (w *wide) bootOn(h *testbed.Host, site string, role wire.Role, token string, secret []byte) Boot {
	return Boot{Session: session, Site: site, Role: role.String(), Pin: w.authority.Pin().String(), Token: token,
		Secret: hex.EncodeToString(secret), Base: w.base, Name: h.Name, Lease: Duration(time.Minute), Idle: Duration(core.Forever), Verbose: true}
}

// startOn starts an agent on a host.
func (w *wide) startOn(h *testbed.Host, b Boot) (*process, error) {
	data, err := b.Encode()
	if err != nil {
		return nil, err
	}
	p := &process{t: w.t, ended: make(chan struct{}), cmd: exec.Command(hostProgram, "agent", string(b.Session), "-")}
	p.cmd.Stdin, p.cmd.Stderr = bytes.NewReader(data), &p.stderr
	if err := h.Start(hostUser, p.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p, nil
}

// await waits for an event that is ok.
func (w *wide) await(what string, within time.Duration, ok func(core.Event) bool) {
	w.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case e := <-w.events:
			if ok(e) {
				return
			}
		case <-timer.C:
			w.t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// retire asks all agents to leave, waits until they have, and ends the primary.
func (w *wide) retire(agents ...*process) {
	w.t.Helper()
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	for _, p := range agents {
		if said := p.end(patience); p.err != nil {
			w.t.Errorf("an agent ended with %v: %s", p.err, said)
		}
	}
	w.hangUp()
}

// pipeConn is a command's standard input and output as a connection.
type pipeConn struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func newPipeConn(cmd *exec.Cmd) (*pipeConn, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &pipeConn{Reader: out, WriteCloser: in, cmd: cmd}, cmd.Start()
}

// CloseWrite ends the command's input.
func (c *pipeConn) CloseWrite() error { return c.WriteCloser.Close() }

// Close ends the command.
func (c *pipeConn) Close() error {
	err := c.WriteCloser.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
	return err
}

// keepLogs keeps the logs of the agents on hosts beyond their end: it gives
// them a second name.
func (w *wide) keepLogs(hosts ...*testbed.Host) {
	w.t.Helper()
	for _, h := range hosts {
		if _, err := h.Exec(w.t.Context(), "sh", "-c", "mkdir -p /tmp/kept && ln -f "+w.base+"/s-*/log-* /tmp/kept/"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// takeLogs returns, and removes, the logs that were kept.
func (w *wide) takeLogs(hosts ...*testbed.Host) string {
	w.t.Helper()
	var all strings.Builder
	for _, h := range hosts {
		out, err := h.Exec(w.t.Context(), "sh", "-c", "cat /tmp/kept/log-* && rm -rf /tmp/kept")
		if err != nil {
			w.t.Fatal(errors.Join(err, errors.New("logs of "+h.Name)))
		}
		all.Write(out)
	}
	return all.String()
}
