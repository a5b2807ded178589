//go:build unix

package ssh_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// server is an SSH server in this process. What it is asked to execute is
// executed on this machine.
type server struct {
	name     string // host:port that it is reached by
	hostKeys []gossh.Signer
	allow    func(user string, key gossh.PublicKey) bool // nil means everybody
	shell    func(line string) []string                  // nil means sh -c line
	routes   map[string]*server                          // where direct-tcpip leads; nil forbids it
	sessions int                                         // allowed at once on a connection; 0 means all
	deaf     bool                                        // passes no signals on
	noExec   bool                                        // refuses to execute anything
	sftp     string                                      // "", "none" or noise before it
	tries    int                                         // of a login; 0 means 6
	old      bool                                        // knows only what was common in 2010
	auth     func(*gossh.ServerConfig)                   // changes how clients authenticate, nil for not at all

	mu      sync.Mutex
	offered []string // fingerprints of the keys offered, in order
	conns   int      // connections so far
	user    string   // the last to authenticate
	lines   []string // what was executed
	hostAlg string   // host key algorithm of the last connection
}

// serve talks to one client. It returns when the connection ends.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	config := &gossh.ServerConfig{
		MaxAuthTries: cmp.Or(s.tries, 6),
		PublicKeyCallback: func(c gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.offered = append(s.offered, gossh.FingerprintSHA256(key))
			s.user = c.User()
			if a, ok := c.(gossh.AlgorithmsConnMetadata); ok {
				s.hostAlg = a.Algorithms().HostKey
			}
			if s.allow != nil && !s.allow(c.User(), key) {
				return nil, errors.New("not this key")
			}
			return nil, nil
		},
	}
	if s.auth != nil {
		s.auth(config)
	}
	if s.old {
		config.KeyExchanges, config.Ciphers = []string{gossh.InsecureKeyExchangeDH1SHA1}, []string{gossh.InsecureCipherAES128CBC}
	}
	for _, k := range s.hostKeys {
		config.AddHostKey(k)
	}
	_, chans, reqs, err := gossh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { gossh.DiscardRequests(reqs) })
	open := 0
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			s.mu.Lock()
			full := s.sessions > 0 && open >= s.sessions
			if !full {
				open++
			}
			s.mu.Unlock()
			if full {
				nc.Reject(gossh.ConnectionFailed, "open failed")
				continue
			}
			ch, reqs, err := nc.Accept()
			if err != nil {
				continue
			}
			wg.Go(func() {
				s.session(ch, reqs)
				s.mu.Lock()
				open--
				s.mu.Unlock()
			})
		case "direct-tcpip":
			var to struct {
				Host  string
				Port  uint32
				Host2 string
				Port2 uint32
			}
			if s.routes == nil || gossh.Unmarshal(nc.ExtraData(), &to) != nil {
				nc.Reject(gossh.Prohibited, "administratively prohibited: open failed")
				continue
			}
			next := s.routes[fmt.Sprintf("%s:%d", to.Host, to.Port)]
			if next == nil {
				nc.Reject(gossh.ConnectionFailed, "Name or service not known")
				continue
			}
			ch, reqs, err := nc.Accept()
			if err != nil {
				continue
			}
			wg.Go(func() { gossh.DiscardRequests(reqs) })
			c := next.connect()
			wg.Go(func() { io.Copy(ch, c); ch.Close() })
			wg.Go(func() { io.Copy(c, ch); c.Close() })
		default:
			nc.Reject(gossh.UnknownChannelType, "no")
		}
	}
}

// connect returns a client's end of a new connection.
func (s *server) connect() net.Conn {
	a, b := memPipe()
	go s.serve(b) // ends with the connection
	return a
}

func (s *server) session(ch gossh.Channel, reqs <-chan *gossh.Request) {
	defer ch.Close()
	var cmd *exec.Cmd
	ended := make(chan error, 1)
	for {
		select {
		case err := <-ended:
			status := struct{ N uint32 }{0}
			if x, ok := errors.AsType[*exec.ExitError](err); ok {
				ws := x.Sys().(syscall.WaitStatus)
				if ws.Signaled() {
					name := map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM"}[ws.Signal()]
					ch.SendRequest("exit-signal", false, gossh.Marshal(struct {
						Signal string
						Core   bool
						Err    string
						Lang   string
					}{Signal: name}))
					return
				}
				status.N = uint32(ws.ExitStatus())
			}
			ch.SendRequest("exit-status", false, gossh.Marshal(status))
			return
		case r, ok := <-reqs:
			if !ok {
				if cmd != nil && !s.deaf {
					syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				}
				if cmd != nil {
					<-ended
				}
				return
			}
			switch r.Type {
			case "exec":
				var m struct{ Line string }
				gossh.Unmarshal(r.Payload, &m)
				s.mu.Lock()
				s.lines = append(s.lines, m.Line)
				s.mu.Unlock()
				if s.noExec {
					r.Reply(false, nil)
					continue
				}
				argv := []string{"/bin/sh", "-c", m.Line}
				if s.shell != nil {
					argv = s.shell(m.Line)
				}
				cmd = exec.Command(argv[0], argv[1:]...)
				cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				in, _ := cmd.StdinPipe()
				err := cmd.Start()
				r.Reply(err == nil, nil)
				if err != nil {
					return
				}
				go func() { // ends with the channel
					io.Copy(in, ch)
					in.Close()
				}()
				go func() { ended <- cmd.Wait() }()
			case "signal":
				if cmd != nil && !s.deaf {
					syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				}
				r.Reply(cmd != nil && !s.deaf, nil)
			case "subsystem":
				r.Reply(s.sftp != "none", nil)
				if s.sftp == "none" {
					continue
				}
				io.WriteString(ch, s.sftp)
				if srv, err := sftp.NewServer(ch); err == nil {
					go func() { // ends with the channel
						srv.Serve()
						ch.Close()
					}()
				}
			default:
				r.Reply(false, nil)
			}
		}
	}
}

// state is what a server has seen so far.
type state struct {
	offered []string
	lines   []string
	conns   int
	user    string
	hostAlg string
}

func (s *server) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return state{slices.Clone(s.offered), slices.Clone(s.lines), s.conns, s.user, s.hostAlg}
}

// takes sets which keys the server takes from now on.
func (s *server) takes(allow func(user string, key gossh.PublicKey) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allow, s.offered = allow, nil
}

func nobody(string, gossh.PublicKey) bool { return false }

// setup makes a server, a home that knows it and has a key, and a target.
func setup(t testing.TB, name string) (*server, gat.Target) {
	t.Helper()
	s := &server{name: name, hostKeys: []gossh.Signer{newKey(t, "ed25519")}}
	home := newHome(t)
	know(t, home, s)
	writeKey(t, home, "id_ed25519", newRawKey(t, "ed25519"), "")
	return s, target(t, "ssh://me@"+name, home, s)
}

// target is where s is, reached through memory.
func target(t testing.TB, text, home string, servers ...*server) gat.Target {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return gat.Target{Site: "test", URL: u, Home: home, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		for _, s := range servers {
			if full(s.name) == addr {
				return s.connect(), nil
			}
		}
		return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
	}}
}

func full(name string) string {
	if strings.Contains(name, ":") {
		return name
	}
	return name + ":22"
}

// login opens a login that is closed when the test ends.
func login(t testing.TB, b ssh.Backend, target gat.Target) gat.Login {
	t.Helper()
	if b.Agent == "" {
		b.Agent = "none"
	}
	l, err := b.Open(t.Context(), target)
	if err != nil {
		t.Fatalf("log in to %s: %v", target.URL, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// refused opens a login that must fail.
func refused(t testing.TB, b ssh.Backend, target gat.Target, class gat.Class, says ...string) error {
	t.Helper()
	if b.Agent == "" {
		b.Agent = "none"
	}
	l, err := b.Open(t.Context(), target)
	if err == nil {
		l.Close()
		t.Fatalf("log in to %s: no error", target.URL)
	}
	if got := gat.ClassOf(err); got != class {
		t.Errorf("class %v, want %v: %v", got, class, err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q:\n%v", s, err)
		}
	}
	return err
}

// run runs a command to its end.
func run(t testing.TB, l gat.Login, argv ...string) (out, errs string, code int) {
	t.Helper()
	p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: argv})
	if err != nil {
		t.Fatalf("run %q: %v", argv, err)
	}
	defer p.Close()
	p.Stdin().Close()
	text := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(p.Stderr())
		text <- b
	}()
	b, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	code, err = p.Wait()
	if err != nil {
		t.Fatalf("run %q: %v", argv, err)
	}
	return string(b), string(<-text), code
}

func newHome(t testing.TB) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	return home
}

// know adds the keys of servers to a home's known_hosts.
func know(t testing.TB, home string, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		for _, k := range s.hostKeys {
			addLine(t, home, knownhosts.Line([]string{knownhosts.Normalize(full(s.name))}, k.PublicKey()))
		}
	}
}

func addLine(t testing.TB, home, line string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(home, ".ssh", "known_hosts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}

func newRawKey(t testing.TB, kind string) any {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB, kind string) gossh.Signer { return signerOf(t, newRawKey(t, kind)) }

func signerOf(t testing.TB, raw any) gossh.Signer {
	t.Helper()
	s, err := gossh.NewSignerFromKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeKey writes a key file into a home and returns the key's fingerprint.
func writeKey(t testing.TB, home, name string, raw any, passphrase string) string {
	t.Helper()
	block, err := gossh.MarshalPrivateKey(raw, "test")
	if passphrase != "" {
		block, err = gossh.MarshalPrivateKeyWithPassphrase(raw, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(home, ".ssh", name), block)
	return gossh.FingerprintSHA256(signerOf(t, raw).PublicKey())
}

// memPipe is a connection in memory whose ends have buffers, for both sides of
// SSH speak first.
func memPipe() (net.Conn, net.Conn) {
	ab, ba := newQueue(), newQueue()
	return &memConn{ba, ab}, &memConn{ab, ba}
}

type memConn struct{ in, out *queue }

func (c *memConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memConn) Close() error                { c.in.close(); c.out.close(); return nil }

func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 22} }
func (c *memConn) SetDeadline(time.Time) error      { return errors.New("no deadlines") }
func (c *memConn) SetReadDeadline(time.Time) error  { return errors.New("no deadlines") }
func (c *memConn) SetWriteDeadline(time.Time) error { return errors.New("no deadlines") }

type queue struct {
	mu     sync.Mutex
	change *sync.Cond
	data   []byte
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

func (q *queue) read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.data) == 0 && !q.closed {
		q.change.Wait()
	}
	if len(q.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, q.data)
	q.data = q.data[n:]
	q.change.Broadcast()
	return n, nil
}

func (q *queue) write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.data) > 1<<20 && !q.closed {
		q.change.Wait()
	}
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	q.data = append(q.data, p...)
	q.change.Broadcast()
	return len(p), nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}
