//go:build linux

package openssh_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/openssh"
	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func TestMain(m *testing.M) {
	if status, played := openssh.Role(); played {
		os.Exit(status)
	}
	os.Exit(testbed.Main(m))
}

// self is the path of this program, which plays the role.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// client is the backend with the ssh of a farm's client.
func client(t testing.TB, f *testbed.Farm) openssh.Backend {
	t.Helper()
	var words []string
	for _, w := range f.Command(t.Context(), "ssh").Args {
		words = append(words, shell.Quote(w))
	}
	path := filepath.Join(t.TempDir(), "ssh")
	script := "#!/bin/sh\nexec " + strings.Join(words, " ") + ` "$@"` + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return openssh.Backend{Program: path, Self: self(t)}
}

// home makes a home directory whose ssh knows the farm's hosts by name. What more
// is said counts before that.
func home(t testing.TB, f *testbed.Farm, config ...string) string {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, ".ssh")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(config, "\n") + "\nHost *\nInclude " + f.SSHConfig + "\n"
	if err := os.WriteFile(filepath.Join(own, "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func target(alias, home string) gat.Target {
	return gat.Target{Site: "test", URL: &url.URL{Scheme: "openssh", Host: alias}, Home: home}
}

func open(t testing.TB, b openssh.Backend, to gat.Target) gat.Login {
	t.Helper()
	l, err := b.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// refused opens a login that must fail.
func refused(t testing.TB, b openssh.Backend, to gat.Target, class gat.Class, says ...string) error {
	t.Helper()
	l, err := b.Open(t.Context(), to)
	if err == nil {
		l.Close()
		t.Fatalf("log in to %s: no error", to.URL)
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
func run(t testing.TB, l gat.Login, argv ...string) (out string, code int) {
	t.Helper()
	p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: argv})
	if err != nil {
		t.Fatalf("run %q: %v", argv, err)
	}
	defer p.Close()
	p.Stdin().Close()
	go io.Copy(io.Discard, p.Stderr()) // ends with the process
	b, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	if code, err = p.Wait(); err != nil {
		t.Fatalf("run %q: %v", argv, err)
	}
	return string(b), code
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
	b := client(t, f)
	gattest.Test(t, gattest.Harness{
		Dir:     siteDir(t, f.Bastion),
		Find:    gattest.Processes,
		Foreign: "4000000000.1.00000000",
		NoSweep: true,
		Inner:   f.Inner1.Name,
		Open:    func(t testing.TB) gat.Login { return open(t, b, target(f.Bastion.Name, home(t, f))) },
		Break: func(t testing.TB, l gat.Login) {
			path, _ := openssh.Socket(l)
			if err := endMaster(f, path); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// Without a shared connection a command is a login, but what it does is the same.
func TestSingle(t *testing.T) {
	f := testbed.Shared(t)
	b := client(t, f)
	b.Single = true
	to := target(f.Bastion.Name, home(t, f))
	l := open(t, b, to)
	if out, code := run(t, l, "/bin/sh", "-c", `printf '%s' "$1"; exit 255`, "x", "a 'b'\n"); out != "a 'b'\n" || code != 255 {
		t.Errorf("output %q, status %d", out, code)
	}
	if _, code := run(t, l, "/bin/sh", "-c", "kill -9 $$"); code != 128+9 {
		t.Errorf("a command that is killed ends with %d", code)
	}
	name := siteDir(t, f.Bastion) + "/file"
	data := bytes.Repeat([]byte("data"), 100_000)
	for _, mode := range []os.FileMode{0o644, 0o600} { // by sftp and by commands
		if err := l.(gat.Files).Put(t.Context(), name, mode, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := l.(gat.Files).Get(t.Context(), name, &got, -1); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("mode %v: %d bytes come back (%v)", mode, got.Len(), err)
		}
	}
	if _, ok := l.(gat.Inward); ok {
		t.Error("it claims to log in further")
	}
	nobody := to
	nobody.URL = &url.URL{Scheme: "openssh", User: url.User("mallory"), Host: f.Bastion.Name}
	refused(t, b, nobody, gat.Denied, "Permission denied", "ssh -l mallory bastion")
}

// hostOf is the configuration of a host that goes by another name, with what more is said of it.
func hostOf(alias string, h *testbed.Host, lines ...string) string {
	return "Host " + alias + "\nHostName " + h.Addr + "\nUser " + h.User + "\nHostKeyAlias " + h.Name + "\n" + strings.Join(lines, "\n") + "\n"
}

// master opens a connection as a user does, and returns its configuration.
func master(t testing.TB, f *testbed.Farm, alias string, h *testbed.Host) (config, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "%r@%h")
	cmd := f.Command(t.Context(), "ssh", "-F", f.SSHConfig, "-M", "-S", path, "-f", "-N", h.Name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("open a master: %v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("sockets of the master: %q, %v", found, err)
	}
	t.Cleanup(func() { endMaster(f, found[0]) })
	return hostOf(alias, h, "ControlMaster auto", "ControlPath "+found[0], "PubkeyAuthentication no"), found[0]
}

// endMaster ends a connection as its owner can.
func endMaster(f *testbed.Farm, path string) error {
	return f.Command(context.Background(), "ssh", "-F", "/dev/null", "-S", path, "-O", "exit", "x").Run()
}

// The connection that the user has opened is used, needs no key and no answer, and
// is left open.
func TestOpenMaster(t *testing.T) {
	f := testbed.Shared(t)
	config, path := master(t, f, "mine", f.Bastion)
	before, err := f.Bastion.LoginCount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to := target("mine", home(t, f, config))
	prompted := 0
	to.Prompted = func(context.Context) { prompted++ }
	to.Ask = func(_ context.Context, _, question string, _ bool) (string, error) {
		t.Errorf("the user is asked %q", question)
		return "", errors.New("no")
	}
	b := client(t, f)
	l := open(t, b, to)
	if out, _ := run(t, l, "hostname"); strings.TrimSpace(out) != f.Bastion.Name {
		t.Errorf("logged in to %q", out)
	}
	if used, own := openssh.Socket(l); own || used != path {
		t.Errorf("the connection is at %s, ours: %v; want %s", used, own, path)
	}
	if prompted != 1 {
		t.Error("a login that cannot be made again silently was not told of")
	}
	in, err := l.(gat.Inward).Inner(t.Context(), f.Inner1.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := run(t, in, "hostname"); strings.TrimSpace(out) != f.Inner1.Name {
		t.Errorf("logged in to %q", out)
	}
	in.Close()
	// The master does not say why a host is not connected to.
	if _, err := l.(gat.Forwarder).Forward(t.Context(), "tcp", "localhost:9"); gat.ClassOf(err) != gat.Transient || errors.Is(err, gat.ErrForwarding) {
		t.Errorf("nothing listens: class %v, %v", gat.ClassOf(err), err)
	}
	l.Close()
	if after, err := f.Bastion.LoginCount(t.Context()); err != nil || after != before {
		t.Errorf("%d logins at the server (%v)", after-before, err)
	}
	again := open(t, b, to)
	if err := endMaster(f, path); err != nil {
		t.Fatalf("the user's connection is gone with ours: %v", err)
	}
	select {
	case <-again.Done():
	case <-time.After(patience):
		t.Fatal("the end of the user's connection goes unnoticed")
	}
	if err := again.Err(); gat.ClassOf(err) != gat.Transient || !strings.Contains(err.Error(), "ControlMaster") {
		t.Errorf("%v", err)
	}
	strict, _ := master(t, f, "strict", f.NoForward)
	no := open(t, b, target("strict", home(t, f, strict)))
	if _, err := no.(gat.Forwarder).Forward(t.Context(), "tcp", f.Inner3.Addr+":22"); !errors.Is(err, gat.ErrForwarding) {
		t.Errorf("%v is no ErrForwarding", err)
	}
	// Now there is no key to log in with.
	to.Ask = nil
	refused(t, b, to, gat.Denied, "Permission denied", "ssh mine")
}

// A socket that nobody answers on is no connection: one of our own is made.
func TestDeafMaster(t *testing.T) {
	f := testbed.Shared(t)
	dir, err := os.MkdirTemp("", "cm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dead := filepath.Join(dir, "dead")
	deaf, err := net.Listen("unix", filepath.Join(dir, "deaf"))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	go func() { // ends with the listener
		for {
			c, err := deaf.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("SSH-2.0-what is this\r\n"))
		}
	}()
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dead, deaf.Addr().String(), filepath.Join(dir, "none")} {
		l := open(t, client(t, f), target("bastion", home(t, f, "Host bastion", "ControlPath "+path)))
		if _, own := openssh.Socket(l); !own {
			t.Errorf("%s passes for a connection", path)
		}
		run(t, l, "true")
	}
}

// Whatever ends the process that logged in, its connection ends with it.
func TestKilled(t *testing.T) {
	const role = "ZORILLA_OPENSSH_KILLED"
	if where := os.Getenv(role); where != "" {
		program, rest, _ := strings.Cut(where, "\n")
		alias, dir, _ := strings.Cut(rest, "\n")
		l, err := openssh.Backend{Program: program, Self: self(t)}.Open(context.Background(), target(alias, dir))
		if err != nil {
			t.Fatal(err)
		}
		path, _ := openssh.Socket(l)
		fmt.Println("socket " + path)
		select {}
	}
	f := testbed.Shared(t)
	b := client(t, f)
	cmd := exec.CommandContext(t.Context(), self(t), "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), role+"="+b.Program+"\nbastion\n"+home(t, f))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	path, ok := strings.CutPrefix(strings.TrimSpace(line), "socket ")
	if !ok {
		t.Fatalf("%q, %v", line, err)
	}
	if len(gattest.Processes(path)) == 0 {
		t.Fatal("no process has the socket in its arguments: this test sees nothing")
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the connection and its directory are gone", func() bool {
		_, err := os.Stat(filepath.Dir(path))
		return os.IsNotExist(err) && len(gattest.Processes(path)) == 0
	})
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %v", what, patience)
		}
	}
}

func TestClose(t *testing.T) {
	f := testbed.Shared(t)
	l := open(t, client(t, f), target("bastion", home(t, f)))
	path, _ := openssh.Socket(l)
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("after Close the directory is there: %v", err)
	}
	if left := gattest.Processes(path); len(left) > 0 {
		t.Errorf("after Close there is %q", left)
	}
}

func TestForward(t *testing.T) {
	f := testbed.Shared(t)
	b := client(t, f)
	l := open(t, b, target("bastion", home(t, f)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := l.(gat.Forwarder).Forward(ctx, "tcp", f.Inner1.Addr+":22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "SSH-2.0-") {
		t.Errorf("%q, %v", line, err)
	}
	conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline: %v", err)
	}

	socket := siteDir(t, f.Bastion) + "/socket"
	p, err := l.(gat.Runner).Run(ctx, gat.Command{Argv: []string{"python3", "-c", `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("up", flush=True)
c, _ = s.accept()
data = b""
while True:
    more = c.recv(100)
    if not more: break
    data += more
c.sendall(data.upper())
`, socket}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if line, err := bufio.NewReader(p.Stdout()).ReadString('\n'); line != "up\n" {
		t.Skipf("no python3 on the host: %q, %v", line, err)
	}
	up, err := l.(gat.Forwarder).Forward(ctx, "unix", socket)
	if errors.Is(err, gat.ErrCannot) {
		t.Log(err)
	} else if err != nil {
		t.Error(err)
	} else {
		defer up.Close()
		io.WriteString(up, "hello")
		up.(interface{ CloseWrite() error }).CloseWrite()
		if out, err := io.ReadAll(up); string(out) != "HELLO" {
			t.Errorf("%q, %v", out, err)
		}
	}

	for address, class := range map[string]gat.Class{f.Inner1.Addr + ":9": gat.Transient, "nowhere": gat.Invalid} {
		if _, err := l.(gat.Forwarder).Forward(ctx, "tcp", address); gat.ClassOf(err) != class || errors.Is(err, gat.ErrForwarding) {
			t.Errorf("%s: class %v, %v", address, gat.ClassOf(err), err)
		}
	}
	no := open(t, b, target("noforward", home(t, f)))
	if _, err := no.(gat.Forwarder).Forward(ctx, "tcp", f.Inner3.Addr+":22"); !errors.Is(err, gat.ErrForwarding) {
		t.Errorf("%v is no ErrForwarding", err)
	}
	if _, err := no.(gat.Inward).Inner(ctx, "inner3", nil); !errors.Is(err, gat.ErrForwarding) {
		t.Errorf("%v is no ErrForwarding", err)
	}
	// A command at the host makes the connection instead.
	in, err := no.(gat.Inward).Inner(ctx, "inner3", func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(addr)
		p, err := no.(gat.Runner).Run(context.WithoutCancel(ctx), gat.Command{Argv: []string{"bash", "-c",
			`exec 3<>"/dev/tcp/$0/$1"; cat <&3 & exec cat >&3`, host, port}})
		if err != nil {
			return nil, err
		}
		return &processConn{Process: p}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if out, _ := run(t, in, "hostname"); strings.TrimSpace(out) != f.Inner3.Name {
		t.Errorf("logged in to %q", out)
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

// A command that is given up while the server does not answer takes nothing else with it.
func TestImpatience(t *testing.T) {
	f := testbed.SSH(t)
	l := open(t, client(t, f), target("plain", home(t, f)))
	run(t, l, "true")
	if err := f.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := l.(gat.Runner).Run(ctx, gat.Command{Argv: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := l.(gat.Forwarder).Forward(ctx, "tcp", "localhost:22"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := f.Plain.Restore(); err != nil {
		t.Fatal(err)
	}
	if out, _ := run(t, l, "echo", "again"); out != "again\n" {
		t.Errorf("output %q", out)
	}
}

// A cut network is noticed, and the job goes on.
func TestCut(t *testing.T) {
	f := testbed.SSH(t)
	b := client(t, f)
	b.KeepAlive = time.Second
	to := target("plain", home(t, f, "ConnectTimeout 1"))
	l := open(t, b, to)
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
	case <-time.After(patience):
		t.Fatal("a cut connection goes unnoticed")
	}
	if err := l.Err(); gat.ClassOf(err) != gat.Transient || !strings.Contains(err.Error(), "not responding") {
		t.Errorf("%v", err)
	}
	if code, err := p.Wait(); code != -1 || gat.ClassOf(err) != gat.Transient {
		t.Errorf("the process over the cut connection ended with %d, %v", code, err)
	}
	refused(t, b, to, gat.Transient, "timed out")
	if err := f.Plain.Restore(); err != nil {
		t.Fatal(err)
	}
	l = open(t, client(t, f), to)
	if all, err := l.Status(t.Context(), ids...); err != nil || all[0].State != gat.Running {
		t.Errorf("after the cut the job is %v, %v", all, err)
	}
	if err := l.Cancel(t.Context(), ids...); err != nil {
		t.Error(err)
	}
}
