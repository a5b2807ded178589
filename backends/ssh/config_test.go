//go:build unix

package ssh_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

// configure writes the ssh configuration of a home.
func configure(t testing.TB, home, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func how(t testing.TB, l gat.Login) string {
	t.Helper()
	d, ok := l.(gat.Described)
	if !ok {
		t.Fatal("the login does not say how it was made")
	}
	return d.How()
}

func TestConfiguredHost(t *testing.T) {
	t.Parallel()
	s := &server{name: "login.example.org:2222", hostKeys: []gossh.Signer{newKey(t, "ed25519")}}
	home := newHome(t)
	addLine(t, home, knownhosts.Line([]string{"das"}, s.hostKeys[0].PublicKey()))
	want := writeKey(t, home, "grid", newRawKey(t, "ed25519"), "")
	writeKey(t, home, "id_ed25519", newRawKey(t, "ed25519"), "")
	configure(t, home, `
Host DAS5
  HostName login.example.org
  Port 2222
  User bob
  IdentityFile ~/.ssh/%%k_missing
  IdentityFile ~/.ssh/grid
  HostKeyAlias das
`)
	l := login(t, ssh.Backend{}, target(t, "ssh://DAS5", home, s))
	st := s.state()
	if diff := cmp.Diff([]string{want}, slices.Compact(st.offered)); diff != "" || st.user != "bob" {
		t.Errorf("logged in as %q, offering (-want +got):\n%s", st.user, diff)
	}
	if got := how(t, l); !strings.Contains(got, "key ~/.ssh/grid, by ") {
		t.Errorf("the login was made by %q", got)
	}

	// The URL wins.
	s.takes(nobody)
	tg := target(t, "ssh://alice@DAS5:2222?identity=~/.ssh/id_ed25519", home, s)
	refused(t, ssh.Backend{}, tg, gat.Denied, "as alice at login.example.org:2222", "~/.ssh/id_ed25519")
	if slices.Contains(s.state().offered, want) {
		t.Error("the configured key was offered in spite of the URL")
	}
	refused(t, ssh.Backend{}, target(t, "ssh://DAS5:22", home, s), gat.NotFound, "login.example.org")

	// What is configured and not there is told when nothing else helps.
	refused(t, ssh.Backend{}, target(t, "ssh://DAS5", home, s), gat.Denied, "das_missing", "~/.ssh/grid")
}

func TestConfigurationMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		says   []string
	}{
		"keyword":         {"Host h\n  Colour red\n", []string{"config: line 2: Bad configuration option: colour", "ssh -G h"}},
		"host name":       {"HostName x;y\n", []string{"neither a name nor an address", "~/.ssh/config"}},
		"user":            {"User \"a b\"\n", []string{"no user name has"}},
		"jump":            {"ProxyJump a,b:c:d@e@\n", []string{"ProxyJump"}},
		"fdpass":          {"ProxyCommand x\nProxyUseFdpass yes\n", []string{"ProxyUseFdpass", "openssh://"}},
		"jump in circles": {"Host h\n  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n", []string{"ProxyJump", "itself"}},
		"many jumps":      {"Host h\n  ProxyJump a,b,c,d,e,f,g,h1,i\n", []string{"more than 8"}},
		"mistake in jump": {"Host h\n  ProxyJump a\nHost a\n  IdentityFile ~/%Q\n", []string{"jump host a", "unknown token %Q"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, tg := setup(t, "h")
			configure(t, tg.Home, "%s", c.config)
			tg.URL.User = nil
			err := refused(t, ssh.Backend{}, tg, gat.Permanent, c.says...)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
	t.Run("match exec hangs", func(t *testing.T) {
		t.Parallel()
		_, tg := setup(t, "h")
		configure(t, tg.Home, "Match exec \"sleep 1000\"\n  User x\n")
		began := time.Now()
		refused(t, ssh.Backend{Config: sshconfig.Resolver{Limit: 300 * time.Millisecond}}, tg, gat.Permanent, "did not end within 300ms", "Match exec")
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// Servers of old are reached when the user's configuration allows what they need.
func TestOldServer(t *testing.T) {
	t.Parallel()
	rs := newKey(t, "rsa")
	sha1, err := gossh.NewSignerWithAlgorithms(rs.(gossh.AlgorithmSigner), []string{gossh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{name: "h", hostKeys: []gossh.Signer{sha1}, old: true}
	home := newHome(t)
	know(t, home, s)
	writeKey(t, home, "id_rsa", newRawKey(t, "rsa"), "")
	tg := target(t, "ssh://me@h", home, s)
	config := "Host h\n"
	for _, line := range []string{"KexAlgorithms +diffie-hellman-group1-sha1", "HostKeyAlgorithms +ssh-rsa", "Ciphers +aes128-cbc"} {
		refused(t, ssh.Backend{}, tg, gat.Permanent, "`Host h`", "`"+line+"`")
		config += "  " + line + "\n"
		configure(t, home, "%s", config)
	}
	if out, _, _ := run(t, login(t, ssh.Backend{}, tg), "echo", "hello"); out != "hello\n" {
		t.Errorf("output %q", out)
	}
	configure(t, home, "PubkeyAuthentication no\n%s", config)
	refused(t, ssh.Backend{}, tg, gat.Denied, "PubkeyAuthentication no")
}

func TestConfiguredJumps(t *testing.T) {
	t.Parallel()
	last, tg := setup(t, "last.inner:2222")
	mid := &server{name: "mid.inner", hostKeys: []gossh.Signer{newKey(t, "ecdsa")}, routes: map[string]*server{"last.inner:2222": last}}
	first := &server{name: "first", hostKeys: []gossh.Signer{newKey(t, "rsa")}, routes: map[string]*server{"mid.inner:22": mid, "last.inner:2222": last}}
	know(t, tg.Home, first, mid)
	own := writeKey(t, tg.Home, "bastion", newRawKey(t, "ed25519"), "")
	configure(t, tg.Home, `
Host last
  HostName last.inner
  Port 2222
  User lou
  ProxyJump ssh://mia@mid
Host mid
  HostName mid.inner
  User never
  ProxyJump first
Host first
  User fay
  IdentityFile ~/.ssh/bastion
`)
	l := login(t, ssh.Backend{}, target(t, "ssh://last", tg.Home, first))
	if out, _, _ := run(t, l, "echo", "hello"); out != "hello\n" {
		t.Errorf("output %q", out)
	}
	for s, user := range map[*server]string{first: "fay", mid: "mia", last: "lou"} {
		if st := s.state(); st.conns != 1 || st.user != user {
			t.Errorf("%d connections to %s as %q, want 1 as %q", st.conns, s.name, st.user, user)
		}
	}
	if got := first.state().offered; !slices.Contains(got, own) || len(slices.Compact(got)) != 1 {
		t.Errorf("the jump host was offered %q, want its own key %s", got, own)
	}

	// Jump hosts in the URL take the place of the configured ones.
	login(t, ssh.Backend{}, target(t, "ssh://last?jump=first", tg.Home, first))
	if n := mid.state().conns; n != 1 {
		t.Errorf("the configured jump host has been used %d times", n)
	}

	// One that lets us in but not through is named.
	mid.routes = nil
	refused(t, ssh.Backend{}, target(t, "ssh://last", tg.Home, first), gat.Denied, "mia@mid.inner lets us in, but not through", "AllowTcpForwarding")
}

func TestIdentityOfJumpHosts(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	jump := &server{name: "jump", hostKeys: s.hostKeys, routes: map[string]*server{"h:22": s}}
	know(t, tg.Home, jump)
	named := writeKey(t, tg.Home, "named", newRawKey(t, "ed25519"), "")
	own := writeKey(t, tg.Home, "own", newRawKey(t, "ed25519"), "")
	configure(t, tg.Home, "Host jump\n  IdentityFile ~/.ssh/own\nHost *\n  IdentityFile ~/.ssh/id_ed25519\n")
	jump.takes(func(_ string, k gossh.PublicKey) bool { return gossh.FingerprintSHA256(k) == own })
	login(t, ssh.Backend{}, target(t, "ssh://me@h?jump=jump&identity=~/.ssh/named", tg.Home, jump))
	if got := slices.Compact(s.state().offered); !slices.Equal(got, []string{named}) {
		t.Errorf("the host was offered %q", got)
	}
	if got := jump.state().offered; got[0] != named || !slices.Contains(got, own) {
		t.Errorf("the jump host was offered %q", got)
	}
}

func TestConfiguredInnerHost(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	inner := &server{name: "node7.cluster:2022", hostKeys: []gossh.Signer{newKey(t, "ed25519")}}
	s.routes = map[string]*server{"node7.cluster:2022": inner}
	know(t, tg.Home, inner)
	configure(t, tg.Home, "Host node*\n  HostName %%h.cluster\n  Port 2022\n  ProxyJump nowhere\nHost node7\n  ConnectTimeout 9\n")
	l := login(t, ssh.Backend{}, tg)
	for host, user := range map[string]string{"node7": "me", "you@node7": "you"} {
		in, err := l.(gat.Inward).Inner(t.Context(), host, nil)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		if got := inner.state().user; got != user {
			t.Errorf("%s: logged in as %q, want %q", host, got, user)
		}
	}
	configure(t, tg.Home, "Host node*\n  HostName %%h.cluster\n  Port 2022\n  User ned\n")
	in, err := l.(gat.Inward).Inner(t.Context(), "node7", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got := inner.state().user; got != "ned" {
		t.Errorf("logged in as %q, want the configured user", got)
	}
}

// TestProxyHelper is no test: it is the program that a ProxyCommand runs. It connects its
// streams to a socket if it is called for the right host.
func TestProxyHelper(t *testing.T) {
	socket := os.Getenv("PROXY_HELPER_SOCKET")
	if socket == "" {
		return
	}
	if got := strings.Join(flag.Args(), " "); got != "h 22 me 100%" {
		fmt.Fprintf(os.Stderr, "called with %q\n", got)
		os.Exit(9)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	go io.Copy(conn, os.Stdin)
	io.Copy(os.Stdout, conn)
	os.Exit(0)
}

func TestProxyCommand(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, tg := setup(t, "h")
	tg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, fmt.Errorf("a plain connection") }
	gone := make(chan struct{}, 2)
	socket := serveAgent(t, func(c net.Conn) {
		s.serve(c)
		gone <- struct{}{}
	})
	// The user's shell sees the command, so that it may be more than a program.
	configure(t, tg.Home, "ProxyCommand env PROXY_HELPER_SOCKET=%s %s -test.run='^TestProxyHelper$' -- %%h %%p %%r \"$(echo 100%%%%)\"\n", socket, program)
	l := login(t, ssh.Backend{}, tg)
	if out, _, _ := run(t, l, "echo", "hello"); out != "hello\n" {
		t.Errorf("output %q", out)
	}
	l.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the command outlives the login")
	}

	// It may lead to the first of the jump hosts.
	last := &server{name: "last", hostKeys: s.hostKeys}
	know(t, tg.Home, last)
	s.routes = map[string]*server{"last:22": last}
	data, err := os.ReadFile(filepath.Join(tg.Home, ".ssh", "config"))
	if err != nil {
		t.Fatal(err)
	}
	configure(t, tg.Home, "Host last\n  ProxyJump me@h\nHost *\n  %s", data)
	far := target(t, "ssh://me@last", tg.Home)
	l = login(t, ssh.Backend{}, far)
	if out, _, _ := run(t, l, "echo", "hello"); out != "hello\n" || last.state().conns != 1 {
		t.Errorf("output %q", out)
	}
	l.Close()

	// With ?jump= the configured command is not used.
	tg.URL.RawQuery = "jump=j"
	refused(t, ssh.Backend{}, tg, gat.Transient, "called with", "\"j 22 ")
}

func TestProxyCommandFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command string
		class   gat.Class
		says    []string
	}{
		"ends":        {"sh -c 'echo no route to the moon >&2; echo and back >&2; exit 3'", gat.Transient, []string{"status 3", "no route to the moon; and back"}},
		"ends well":   {"true", gat.Transient, []string{"closed the connection"}},
		"not there":   {"/no/such/program", gat.Permanent, []string{"status 127", "/no/such/program", "installed"}},
		"hangs":       {"sh -c 'echo waiting for Godot >&2; sleep 1000; exit 0'", gat.Transient, []string{"no SSH greeting", "waiting for Godot", "no terminal"}},
		"prints":      {"printf '%%05000d' 1", gat.Permanent, []string{"no SSH server"}},
		"says a lot":  {"sh -c 'head -c 3000000 /dev/zero | tr \"\\\\000\" x >&2; echo the end >&2; exit 1'", gat.Transient, []string{"status 1", "the end"}},
		"half closes": {"sh -c 'exec >&-; sleep 1000'", gat.Transient, []string{"closed the connection"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, tg := setup(t, "h")
			configure(t, tg.Home, "ProxyCommand %s\n", c.command)
			began := time.Now()
			timeout := 20 * time.Second
			if name == "hangs" {
				timeout = time.Second
			}
			err := refused(t, ssh.Backend{Timeout: timeout}, tg, c.class, append(c.says, "ProxyCommand")...)
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("it took %v", d)
			}
			if len(err.Error()) > 8<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestAddressFamily(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"any": "tcp", "inet": "tcp4", "inet6": "tcp6"} {
		_, tg := setup(t, "h")
		configure(t, tg.Home, "AddressFamily %s\n", value)
		dial, used := tg.Dial, ""
		tg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			used = network
			return dial(ctx, network, addr)
		}
		login(t, ssh.Backend{}, tg)
		if used != want {
			t.Errorf("AddressFamily %s: connected by %s, want %s", value, used, want)
		}
	}
}

func TestIdentitiesOnly(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	ring := agent.NewKeyring()
	var held []string
	raws := make([]any, 8)
	for i := range raws {
		raws[i] = newRawKey(t, "ed25519")
		if err := ring.Add(agent.AddedKey{PrivateKey: raws[i], Comment: fmt.Sprintf("key %d", i)}); err != nil {
			t.Fatal(err)
		}
		held = append(held, gossh.FingerprintSHA256(signerOf(t, raws[i]).PublicKey()))
	}
	path := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })
	file := writeKey(t, tg.Home, "file", newRawKey(t, "ed25519"), "")
	// A public half is enough to name a key of the agent's.
	pub := gossh.MarshalAuthorizedKey(signerOf(t, raws[5]).PublicKey())
	if err := os.WriteFile(filepath.Join(tg.Home, ".ssh", "five.pub"), pub, 0o644); err != nil {
		t.Fatal(err)
	}

	// A server that allows six tries never sees the key in the file.
	s.takes(func(_ string, k gossh.PublicKey) bool { return gossh.FingerprintSHA256(k) == file })
	configure(t, tg.Home, "IdentityFile ~/.ssh/file\nIdentityAgent %s\n", path)
	backend := ssh.Backend{Agent: path}
	refused(t, backend, tg, gat.Denied, "IdentitiesOnly", "?identity=", held[0])
	tg.URL.RawQuery = "identity=~/.ssh/file"
	login(t, backend, tg)
	tg.URL.RawQuery = ""
	configure(t, tg.Home, "IdentityFile ~/.ssh/file\nIdentitiesOnly yes\n")
	login(t, backend, tg)

	// The agent's keys that are configured come first, and alone when so said.
	for _, name := range []string{"five.pub", "five"} {
		for _, only := range []string{"yes", "no"} {
			s.takes(func(_ string, k gossh.PublicKey) bool { return gossh.FingerprintSHA256(k) == held[5] })
			configure(t, tg.Home, "IdentityFile ~/.ssh/file\nIdentityFile ~/.ssh/%s\nIdentitiesOnly %s\n", name, only)
			l := login(t, backend, tg)
			if got := s.state().offered; got[0] != held[5] {
				t.Errorf("%s, IdentitiesOnly %s: offered %q, want %s first", name, only, got, held[5])
			}
			if got := how(t, l); !strings.HasPrefix(got, "agent key key 5, by ") {
				t.Errorf("logged in by %q", got)
			}
		}
	}
	// Of a key in hardware there is a file that says which, and the agent may have it.
	hardware := `sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKdlGsC5eITvlzVIlPK0MqMpk4YM4aRPbHmQo+lyTS/qAAAABHNzaDo= token`
	for name, text := range map[string]string{"id_sk": "no key that we know", "id_sk.pub": hardware} {
		if err := os.WriteFile(filepath.Join(tg.Home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(t, tg.Home, "IdentityFile ~/.ssh/five\nIdentityFile ~/.ssh/id_sk\n")
	refused(t, ssh.Backend{Agent: "none"}, tg, gat.Denied, "id_sk is in a security key", "openssh://", "five.pub has its secret half neither there nor in the agent")
}

// IdentityAgent is the agent unless ours is told of another.
func TestIdentityAgent(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	raw := newRawKey(t, "ed25519")
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
		t.Fatal(err)
	}
	path := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })
	want := gossh.FingerprintSHA256(signerOf(t, raw).PublicKey())
	configure(t, tg.Home, "IdentityAgent %s\n", path)
	l, err := ssh.Backend{}.Open(t.Context(), tg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := s.state().offered; got[0] != want {
		t.Errorf("offered %q, want the agent's %s first", got, want)
	}
}

// An agent that lists its keys and never signs is bounded by the caller at the latest.
func TestAgentNeverSigns(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: newRawKey(t, "ed25519")}); err != nil {
		t.Fatal(err)
	}
	path := serveAgent(t, func(c net.Conn) {
		agent.ServeAgent(mute{ring, t.Context().Done()}, c)
		c.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if l, err := (ssh.Backend{Agent: path}).Open(ctx, tg); err == nil {
		l.Close()
		t.Error("no error")
	} else if ctx.Err() == nil {
		t.Errorf("it ended before its time: %v", err)
	}
}

// mute is an agent that never signs.
type mute struct {
	agent.Agent
	end <-chan struct{}
}

func (m mute) Sign(gossh.PublicKey, []byte) (*gossh.Signature, error) {
	<-m.end
	return nil, io.EOF
}

func (m mute) SignWithFlags(gossh.PublicKey, []byte, agent.SignatureFlags) (*gossh.Signature, error) {
	<-m.end
	return nil, agent.ErrExtensionUnsupported
}

func (m mute) Extension(string, []byte) ([]byte, error) { return nil, agent.ErrExtensionUnsupported }

// BenchmarkLogin shows what asking the installed ssh adds to a login over no distance.
func BenchmarkLogin(b *testing.B) {
	_, tg := setup(b, "h")
	for name, program := range map[string]string{"ssh": "", "files": "none"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l, err := ssh.Backend{Agent: "none", Config: sshconfig.Resolver{Program: program}}.Open(b.Context(), tg)
				if err != nil {
					b.Fatal(err)
				}
				l.Close()
			}
		})
	}
}
