//go:build linux

package ssh_test

import (
	"io"
	"os/exec"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

const bulk = 256 << 20 // bytes

// The pairs compare with the system's ssh at its defaults:
//
//	ZORILLA_TESTBED=install go test -run - -bench . ./backends/ssh
func BenchmarkCat(b *testing.B) {
	f := testbed.Shared(b)
	cat := []string{"head", "-c", "268435456", "/dev/zero"}
	b.Run("run", func(b *testing.B) {
		l := open(b, farmTarget(b, f, f.Bastion, farmHome(b, f)))
		b.SetBytes(bulk)
		for b.Loop() {
			p, err := l.(gat.Runner).Run(b.Context(), gat.Command{Argv: cat})
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, p.Stdout())
			if code, werr := p.Wait(); n != bulk || err != nil || code != 0 || werr != nil {
				b.Fatal(n, err, code, werr)
			}
		}
	})
	b.Run("ssh", func(b *testing.B) {
		b.SetBytes(bulk)
		for b.Loop() {
			cmd := system(b, f, cat)
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, out)
			if werr := cmd.Wait(); n != bulk || err != nil || werr != nil {
				b.Fatal(n, err, werr)
			}
		}
	})
}

func BenchmarkTrue(b *testing.B) {
	f := testbed.Shared(b)
	b.Run("run", func(b *testing.B) {
		l := open(b, farmTarget(b, f, f.Bastion, farmHome(b, f)))
		for b.Loop() {
			if _, _, code := run(b, l, "true"); code != 0 {
				b.Fatal(code)
			}
		}
	})
	b.Run("login and run", func(b *testing.B) {
		target := farmTarget(b, f, f.Bastion, farmHome(b, f))
		for b.Loop() {
			l := open(b, target)
			run(b, l, "true")
			l.Close()
		}
	})
	b.Run("ssh", func(b *testing.B) {
		for b.Loop() {
			if out, err := system(b, f, []string{"true"}).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// system is the system's ssh to the bastion.
func system(b *testing.B, f *testbed.Farm, argv []string) *exec.Cmd {
	return f.Command(b.Context(), append([]string{"ssh", "-F", f.SSHConfig, f.Bastion.Name}, argv...)...)
}
