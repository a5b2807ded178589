//go:build linux

package openssh_test

import (
	"context"
	"encoding/binary"
	"errors"
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
	"github.com/zorilla-grid/zorilla/gat"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"openssh://das5", "openssh://me@das5", "openssh://me@das5:2222/", "openssh://[2001:db8::1]:22", "openssh://a.b-c_d"} {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		if err := (openssh.Backend{}).Check(u); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"ssh://h":                               "scheme",
		"openssh:h":                             "host is missing",
		"openssh://":                            "host is missing",
		"openssh://@h":                          "user before @ is empty",
		"openssh://me:secret@h":                 "password has no place",
		"openssh://h:0":                         "port",
		"openssh://h:":                          "port after :",
		"openssh://h/path":                      "path",
		"openssh://h?jump=x":                    "~/.ssh/config under Host h",
		"openssh://h#x":                         "fragment",
		"openssh://-oProxyCommand":              "neither a name nor an address",
		"openssh://h%20x":                       "",
		"openssh://-x@h":                        "user",
		"openssh://a%3Bb@h":                     "user",
		"openssh://" + strings.Repeat("h", 300): "neither",
	} {
		u, err := url.Parse(bad)
		if err != nil {
			continue // such a URL does not come this far
		}
		err = (openssh.Backend{}).Check(u)
		if gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", bad, err, says)
		}
	}
	if err := (openssh.Backend{}).Check(nil); gat.ClassOf(err) != gat.Invalid {
		t.Errorf("no URL: %v", err)
	}
}

// script writes a program in the place of ssh.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A program that is not there, is something else, or does not do what ssh does.
func TestProgram(t *testing.T) {
	t.Parallel()
	const hello = `[ "$1" = -V ] && { echo OpenSSH_9.2p1 >&2; exit; }` + "\n"
	for name, c := range map[string]struct {
		program string
		class   gat.Class
		says    []string
	}{
		"missing":          {filepath.Join(t.TempDir(), "none"), gat.Permanent, []string{"find the ssh program", "ssh:// in place of openssh://"}},
		"dropbear":         {script(t, `echo "Dropbear v2022.83" >&2; exit 1`), gat.Permanent, []string{"version"}},
		"something else":   {script(t, `echo "Sun_SSH_1.1.4" >&2`), gat.Permanent, []string{"is not OpenSSH's", "Sun_SSH"}},
		"old":              {script(t, `echo "OpenSSH_5.3p1, OpenSSL 1.0.1e-fips" >&2`), gat.Permanent, []string{"OpenSSH 5.3, older than 6.8"}},
		"hangs":            {script(t, `sleep 1000`), gat.Transient, []string{"does not end", "version"}},
		"its config hangs": {script(t, hello+`sleep 1000`), gat.Transient, []string{"does not end", "Match exec"}},
		"bad config":       {script(t, hello+`echo "/home/me/.ssh/config line 3: Bad configuration option: frobnicate" >&2; exit 255`), gat.Invalid, []string{"line 3", "ssh_config"}},
		"never logs in":    {script(t, hello+`[ "$1" = -G ] && exit; echo "just a moment" >&2; sleep 1000`), gat.Transient, []string{"not logged in within 400ms", "just a moment"}},
		"without a word":   {script(t, hello+`[ "$1" = -G ] && exit; exit 1`), gat.Transient, []string{"without a word", "ssh h"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			refused(t, openssh.Backend{Program: c.program, Timeout: 100 * time.Millisecond}, target("h", ""), c.class, c.says...)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it takes %v to fail", took)
			}
		})
	}
}

// An old ssh asks when it has a display and no terminal.
func TestOldAsks(t *testing.T) {
	t.Setenv("DISPLAY", "")
	program := script(t, `case $1 in
-V) echo OpenSSH_7.4p1 >&2; exit ;;
-G) exit ;;
esac
(exec </dev/tty) 2>/dev/null && { echo "there is a terminal" >&2; exit 255; }
[ -n "$DISPLAY" ] || { echo "no display" >&2; exit 255; }
answer=$("$SSH_ASKPASS" "me@h's password: ") || exit 255
echo "Permission denied (password). [$answer]" >&2
exit 255`)
	u := &user{answers: map[string]string{"password": "sesame"}}
	refused(t, openssh.Backend{Program: program, Self: self(t)}, u.at(target("h", "")), gat.Denied, "[sesame]")
	u.expect(t, 1, "me@h's password:")
}

// real is a home for the system's ssh with this configuration.
func real(t *testing.T, config ...string) gat.Target {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("there is no ssh program")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(config, "\n") + "\nHost *\nIdentityAgent none\nIdentityFile none\nGlobalKnownHostsFile /dev/null\n"
	if err := os.WriteFile(filepath.Join(dir, ".ssh", "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return target("h", dir)
}

// listen serves connections on this machine until the test ends, and returns the
// configuration of a host that is reached there.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c) // ends with the connection
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "Host h\nHostName 127.0.0.1\nPort " + port
}

// What the system's ssh meets before it has authenticated.
func TestServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		class  gat.Class
		says   []string
	}{
		"unknown name":    {"Host h\nHostName no-such-host.invalid", gat.NotFound, []string{"Could not resolve hostname", "spelling"}},
		"nothing listens": {"Host h\nHostName 127.0.0.1\nPort 1", gat.Transient, []string{"Connection refused", "right port"}},
		"garbage":         {listen(t, func(c net.Conn) { c.Write([]byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n\x00\xff\r\n", 200))) }), gat.Permanent, []string{"no SSH server", "right port"}},
		"closes":          {listen(t, func(c net.Conn) { c.Close() }), gat.Transient, []string{"MaxStartups"}},
		"half a banner":   {listen(t, func(c net.Conn) { c.Write([]byte("SSH-2.0-Open")) }), gat.Transient, []string{"timed out"}},
		"silent":          {listen(t, func(net.Conn) {}), gat.Transient, []string{"timed out"}},
		"proxy fails":     {"Host h\nProxyCommand sh -c 'echo no ticket for the gateway >&2; exit 3'", gat.Transient, []string{"no ticket for the gateway", "ProxyCommand"}},
		"proxy hangs":     {"Host h\nProxyCommand sleep 1000", gat.Transient, []string{"timed out"}},
		"bad option":      {"Host h\nFrobnicate yes", gat.Invalid, []string{"frobnicate", "ssh_config"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := refused(t, openssh.Backend{Timeout: time.Second}, real(t, c.config), c.class)
			for _, s := range c.says {
				if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(s)) {
					t.Errorf("the error does not say %q:\n%v", s, err)
				}
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := openssh.Backend{}.Open(ctx, real(t, "Host h\nProxyCommand sh -c 'echo the gate is shut >&2; exec sleep 1000'"))
		if !errors.Is(err, context.DeadlineExceeded) || gat.ClassOf(err) != gat.Transient || !strings.Contains(err.Error(), "the gate is shut") {
			t.Errorf("%v", err)
		}
	})
}

// What ssh programs of other years say.
func TestExplain(t *testing.T) {
	t.Parallel()
	for said, c := range map[string]struct {
		class gat.Class
		says  string
	}{
		"me@h: Permission denied (publickey,gssapi-with-mic).\r\n":                                                                                   {gat.Denied, "`ssh -l me -p 2222 h`"},
		"Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\r\nDisconnected\r\n":                                         {gat.Denied, "IdentitiesOnly"},
		"ssh: Could not resolve hostname h: Temporary failure in name resolution\r\n":                                                                {gat.Transient, "name server"},
		"ssh: Could not resolve hostname h: nodename nor servname provided, or not known\r\n":                                                        {gat.NotFound, "spelling"},
		"channel 0: open failed: administratively prohibited: open failed\r\nstdio forwarding failed\r\nConnection closed by UNKNOWN port 65535\r\n": {gat.Denied, "in between allows logins but not forwarding"},
		"channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n":                                                    {gat.Transient, "No route to host"},
		"Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-rsa\r\n":                                      {gat.Permanent, "ssh-rsa"},
		"Timeout, server h not responding.\r\n":                                                                                                      {gat.Transient, "not responding"},
		"client_loop: send disconnect: Broken pipe\r\n":                                                                                              {gat.Transient, "Broken pipe"},
		"Connection to h closed by remote host.\r\n":                                                                                                 {gat.Transient, "closed by remote host"},
		"":                             {gat.Transient, "without a word"},
		"\x1b[31mwhat\x07 is this\x00": {gat.Transient, "?[31mwhat? is this?"},
	} {
		err := shell.Classified("log in", "", openssh.Explain(said, "me@h:2222", true))
		if gat.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: class %v, %v; want %v, %q", said, gat.ClassOf(err), err, c.class, c.says)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("Host key verification failed.\r\n")
	f.Add("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nssh-keygen -f \"/x\" -R \"h\"")
	f.Add("ssh: connect to host h port 22: \nConnection closed by UNKNOWN port 65535")
	f.Fuzz(func(t *testing.T, said string) {
		err := openssh.Explain(said, "h", false)
		if err == nil || strings.ContainsAny(err.Error(), "\r\n\x1b\x00") {
			t.Errorf("%q becomes %q", said, err)
		}
	})
}

// FuzzMaster talks to a master that says anything: it ends and does not panic.
func FuzzMaster(f *testing.F) {
	packet := func(values ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(4*len(values)))
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	hello, alive := packet(1, 4), packet(0x80000005, 1, 99)
	f.Add([]byte("SSH-2.0-no"))
	f.Add(append(hello, alive...))
	f.Add(append(append(hello, alive...), packet(0x80000006, 0, 7)...))
	f.Add(append(append(hello, alive...), packet(0x80000003, 0, 0xffffffff)...))
	f.Add(packet(1, 5))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, says []byte) {
		dir, err := os.MkdirTemp("", "mux")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l, err := net.Listen("unix", filepath.Join(dir, "m"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() { // ends with the listener or the connection
			c, err := l.Accept()
			if err == nil {
				c.Write(says)
				c.(*net.UnixConn).CloseWrite()
				c.Read(make([]byte, 1<<10))
				c.Close()
			}
		}()
		openssh.Talk(t.Context(), filepath.Join(dir, "m"))
	})
}
