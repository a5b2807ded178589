//go:build linux

package openssh_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
	for name, c := range map[string]struct {
		host           *testbed.Host
		inner          string
		break_, single bool
	}{
		"quiet":  {host: f.Bastion, inner: f.Inner1.Name},
		"noisy":  {host: f.Plain},
		"single": {host: f.Bastion, single: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := client(t, f)
			b.Single = c.single
			h := gattest.Harness{
				Dir:     siteDir(t, c.host),
				Find:    gattest.Processes,
				Foreign: "4000000000.1.00000000",
				NoSweep: true,
				Inner:   c.inner,
				Open: func(t testing.TB) gat.Login {
					return open(t, b, target(c.host.Name, home(t, f)))
				},
			}
			gattest.Test(t, h)
		})
	}
}

var (
	_ = errors.Is
	_ net.Conn
	_ exec.Cmd
)
