package testbed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok, which is called every few milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

// openssh runs ssh in the client's network.
func openssh(ctx context.Context, f *testbed.Farm, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := f.Command(ctx, append([]string{"ssh", "-F", f.SSHConfig}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// login logs in through conn, which it takes over.
func login(t *testing.T, f *testbed.Farm, h *testbed.Host, user string, conn net.Conn) (*ssh.Client, error) {
	t.Helper()
	pem, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	known, err := knownhosts.New(f.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, net.JoinHostPort(h.Addr, "22"), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known, Timeout: 10 * time.Second,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// client logs in to a host in the client's network.
func client(t *testing.T, f *testbed.Farm, h *testbed.Host, user string) *ssh.Client {
	t.Helper()
	conn, err := f.Dial(within(t, 10*time.Second), "tcp", net.JoinHostPort(h.Addr, "22"))
	if err != nil {
		t.Fatalf("dial %s: %v", h.Name, err)
	}
	c, err := login(t, f, h, user, conn)
	if err != nil {
		t.Fatalf("log in to %s: %v", h.Name, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func output(t *testing.T, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Output(command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

func TestOpenSSH(t *testing.T) {
	f := testbed.Shared(t)
	for _, h := range f.Hosts() {
		if h == f.Inner3 {
			continue // no way there without help from NoForward
		}
		t.Run(h.Name, func(t *testing.T) {
			before, err := h.LoginCount(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out, errs, err := openssh(within(t, 20*time.Second), f, h.Name, "hostname; id -un; java -XX:-UsePerfData -version 2>&1 | head -1")
			if err != nil {
				t.Fatalf("ssh: %v\n%s", err, errs)
			}
			for _, want := range []string{h.Name + "\n", "alice\n", "openjdk version \"17"} {
				if !strings.Contains(out, want) {
					t.Errorf("output %q has no %q", out, want)
				}
			}
			noisy := strings.Contains(out, "welcome to") && strings.Contains(errs, "warning: ")
			if want := h == f.Plain; noisy != want {
				t.Errorf("noisy = %v, want %v; stdout %q, stderr %q", noisy, want, out, errs)
			}
			after, err := h.LoginCount(t.Context())
			if err != nil || after != before+1 {
				t.Errorf("LoginCount went from %d to %d, %v; want one more", before, after, err)
			}
		})
	}
}

func TestXCrypto(t *testing.T) {
	f := testbed.Shared(t)
	for _, h := range []*testbed.Host{f.Plain, f.Bastion, f.NoForward} {
		for _, user := range []string{"alice", "bob"} {
			out := output(t, client(t, f, h, user), "hostname; id -un")
			if want := h.Name + "\n" + user + "\n"; !strings.HasSuffix(out, want) {
				t.Errorf("%s on %s: got %q, want it to end with %q", user, h.Name, out, want)
			}
		}
	}
	conn, err := f.Dial(within(t, 10*time.Second), "tcp", "plain:22")
	if err != nil {
		t.Fatalf("dial by name: %v", err)
	}
	if c, err := login(t, f, f.Plain, "root", conn); err == nil {
		c.Close()
		t.Error("root could log in")
	}
}

func TestInnerHosts(t *testing.T) {
	f := testbed.Shared(t)
	for _, h := range []*testbed.Host{f.Inner1, f.Inner2, f.Inner3} {
		if conn, err := f.Dial(within(t, 5*time.Second), "tcp", h.Addr+":22"); err == nil {
			conn.Close()
			t.Errorf("%s can be reached from the client", h.Name)
		} else if !strings.Contains(err.Error(), "network is unreachable") {
			t.Errorf("dial %s: %v, want network is unreachable", h.Name, err)
		}
	}
	conn, err := client(t, f, f.Bastion, "alice").DialContext(t.Context(), "tcp", f.Inner1.Addr+":22")
	if err != nil {
		t.Fatalf("dial through bastion: %v", err)
	}
	inner, err := login(t, f, f.Inner1, "alice", conn)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	if got, want := output(t, inner, "echo $SSH_CONNECTION"), f.Bastion.InnerAddr+" "; !strings.HasPrefix(got, want) {
		t.Errorf("inner1 sees connection %q, want it to come from %s", got, want)
	}
	if out, errs, err := openssh(within(t, 10*time.Second), f, "-o", "ProxyJump=none", "inner1", "true"); err == nil {
		t.Errorf("ssh without jump got through: %q %q", out, errs)
	}
}

func TestNoForward(t *testing.T) {
	f := testbed.Shared(t)
	c := client(t, f, f.NoForward, "alice")
	_, err := c.DialContext(t.Context(), "tcp", f.Inner3.Addr+":22")
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refused.Reason != ssh.Prohibited {
		t.Errorf("forwarding: %v, want administratively prohibited", err)
	}
	if l, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("remote forwarding is allowed")
	}
	if _, err := c.Dial("unix", "/run/some.socket"); err == nil {
		t.Error("socket forwarding is allowed")
	}
	// What a program on the head can do all the same.
	if got := output(t, c, "exec 3<>/dev/tcp/"+f.Inner3.Addr+"/22; head -c 7 <&3"); got != "SSH-2.0" {
		t.Errorf("inner3 seen from noforward: %q", got)
	}
}

func TestCommand(t *testing.T) {
	f := testbed.Shared(t)
	file := t.TempDir() + "/file"
	cmd := f.Command(t.Context(), "sh", "-c", `readlink /proc/self/ns/net; echo "$HOME" >"$1"`, "sh", file)
	cmd.Env = append(os.Environ(), "HOME=/somewhere")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got == own || !strings.HasPrefix(got, "net:[") {
		t.Errorf("command ran in %s, tests run in %s", got, own)
	}
	if home, err := os.ReadFile(file); err != nil || string(home) != "/somewhere\n" {
		t.Errorf("command wrote %q, %v", home, err)
	}
}

func TestExec(t *testing.T) {
	f := testbed.Shared(t)
	for _, user := range []string{"root", "alice", "bob"} {
		out, err := f.Inner3.ExecAs(t.Context(), user, "sh", "-c", "hostname; id -un; head -c 4 /proc/1/cmdline")
		if want := "inner3\n" + user + "\ninit"; err != nil || string(out) != want {
			t.Errorf("ExecAs %s: %q, %v; want %q", user, out, err, want)
		}
	}
	if _, err := f.Plain.Exec(t.Context(), "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("error does not say why: %v", err)
	}
	if _, err := f.Plain.ExecAs(t.Context(), "mallory", "true"); err == nil {
		t.Error("exec as a user that is not there")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := f.Plain.Exec(ctx, "sleep", "1000.5"); err == nil {
		t.Error("exec goes on after its context")
	}
	if p, err := f.Plain.Processes(t.Context(), "sleep 1000.5"); err != nil || len(p) != 0 {
		t.Errorf("after exec: %v, %v", p, err)
	}
}

// A host is isolated from the machine, and process 1 reaps.
func TestIsolation(t *testing.T) {
	f := testbed.Shared(t)
	file := t.TempDir() + "/on-the-machine"
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	script := `set -e
test ! -e ` + file + `
! kill -0 ` + fmt.Sprint(os.Getpid()) + ` 2>/dev/null
touch /etc/only-here /usr/bin/only-here /tmp/only-here
! touch /sys/kernel/only-here 2>/dev/null
rm /etc/only-here /usr/bin/only-here /tmp/only-here
(setsid sh -c 'exec true' &) </dev/null >/dev/null 2>&1
ls -l /dev/fd/ >/dev/null; echo x >/dev/null; head -c1 /dev/urandom >/dev/null; ps ax >/dev/null`
	if _, err := f.Plain.Exec(t.Context(), "sh", "-c", script); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no zombies", func() bool {
		out, err := f.Plain.Exec(t.Context(), "ps", "-eo", "stat=,comm=")
		if err != nil {
			t.Fatal(err)
		}
		return !strings.Contains("\n"+string(out), "\nZ")
	})
}

func TestCutAndRestore(t *testing.T) {
	f := testbed.SSH(t)
	for _, h := range []*testbed.Host{f.Plain, f.Bastion} {
		c := client(t, f, h, "alice")
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		in, _ := s.StdinPipe()
		out, _ := s.StdoutPipe()
		if err := s.Start("exec cat"); err != nil {
			t.Fatal(err)
		}
		if err := h.Cut(); err != nil {
			t.Fatal(err)
		}
		if conn, err := f.Dial(within(t, 500*time.Millisecond), "tcp", h.Addr+":22"); err == nil {
			conn.Close()
			t.Errorf("%s can be dialed though cut", h.Name)
		}
		if h == f.Bastion {
			if _, err := f.Inner1.Exec(within(t, 10*time.Second), "timeout", "0.5", "bash", "-c", "</dev/tcp/"+h.InnerAddr+"/22"); err == nil {
				t.Error("inner1 reaches a bastion that is cut")
			}
		}
		echo := make(chan string, 1)
		go func() {
			all, _ := io.ReadAll(out)
			echo <- string(all)
		}()
		if _, err := io.WriteString(in, "still here"); err != nil {
			t.Fatalf("connection to %s was reset by the cut: %v", h.Name, err)
		}
		in.Close()
		if err := h.Restore(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-echo:
			if !strings.HasSuffix(got, "still here") {
				t.Errorf("after Restore, %s echoed %q", h.Name, got)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("the connection to %s does not go on", h.Name)
		}
	}
}

func TestKill(t *testing.T) {
	f := testbed.SSH(t)
	c := client(t, f, f.Bastion, "alice")
	closed := make(chan error, 1)
	go func() { closed <- c.Wait() }()
	if err := f.Bastion.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bastion.Exec(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("exec on a killed host: %v", err)
	}
	if conn, err := f.Dial(within(t, 500*time.Millisecond), "tcp", f.Bastion.Addr+":22"); err == nil {
		conn.Close()
		t.Error("killed host can be dialed")
	}
	select {
	case err := <-closed:
		t.Errorf("the connection ended (%v): a crash tells nobody", err)
	default:
	}
	if _, err := f.Inner1.Exec(t.Context(), "true"); err != nil {
		t.Errorf("another host died too: %v", err)
	}
}

func TestRestartSSHD(t *testing.T) {
	f := testbed.Shared(t)
	old := client(t, f, f.Plain, "alice")
	if err := f.Plain.RestartSSHD(); err != nil {
		t.Fatal(err)
	}
	if got := output(t, old, "echo open"); !strings.HasSuffix(got, "open\n") {
		t.Errorf("old session: %q", got)
	}
	output(t, client(t, f, f.Plain, "alice"), "true")
}
