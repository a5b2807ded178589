//go:build linux

package openssh_test

import (
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/openssh"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

const bulk = 256 << 20 // bytes

// ways are the two backends, and the system's ssh by hand: with a connection for each
// command, and over an open one. Compare them in one run:
//
//	ZORILLA_TESTBED=install go test -run - -bench . ./backends/openssh
func ways(b *testing.B, do func(b *testing.B, l gat.Login), byHand func(b *testing.B, cmd func(argv ...string) *exec.Cmd)) {
	f := testbed.Shared(b)
	dir := home(b, f)
	for name, file := range map[string]string{"id_ed25519": f.Key, "known_hosts": f.KnownHosts} {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".ssh", name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	to := target(f.Bastion.Name, dir)
	shared := open(b, client(b, f), to)
	b.Run("openssh", func(b *testing.B) { do(b, shared) })
	b.Run("ssh", func(b *testing.B) {
		at := to
		at.URL = &url.URL{Scheme: "ssh", User: url.User(f.Bastion.User), Host: f.Bastion.Addr}
		at.Dial = f.Dial
		l, err := ssh.Backend{Agent: "none"}.Open(b.Context(), at)
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		do(b, l)
	})
	b.Run("by hand", func(b *testing.B) {
		byHand(b, func(argv ...string) *exec.Cmd {
			return f.Command(b.Context(), append([]string{"ssh", "-F", f.SSHConfig, f.Bastion.Name}, argv...)...)
		})
	})
	path, _ := openssh.Socket(shared)
	b.Run("by hand over ours", func(b *testing.B) {
		byHand(b, func(argv ...string) *exec.Cmd {
			return exec.CommandContext(b.Context(), "ssh", append([]string{"-F", "/dev/null", "-S", path, "x"}, argv...)...)
		})
	})
}

func BenchmarkTrue(b *testing.B) {
	ways(b, func(b *testing.B, l gat.Login) {
		for b.Loop() {
			if _, code := run(b, l, "true"); code != 0 {
				b.Fatal(code)
			}
		}
	}, func(b *testing.B, cmd func(...string) *exec.Cmd) {
		for b.Loop() {
			if out, err := cmd("true").CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

func BenchmarkCat(b *testing.B) {
	argv := []string{"head", "-c", strconv.Itoa(bulk), "/dev/zero"}
	ways(b, func(b *testing.B, l gat.Login) {
		b.SetBytes(bulk)
		for b.Loop() {
			p, err := l.(gat.Runner).Run(b.Context(), gat.Command{Argv: argv})
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, p.Stdout())
			if code, werr := p.Wait(); n != bulk || err != nil || code != 0 || werr != nil {
				b.Fatal(n, err, code, werr)
			}
		}
	}, func(b *testing.B, cmd func(...string) *exec.Cmd) {
		b.SetBytes(bulk)
		for b.Loop() {
			c := cmd(argv...)
			out, err := c.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, out)
			if werr := c.Wait(); n != bulk || err != nil || werr != nil {
				b.Fatal(n, err, werr)
			}
		}
	})
}
