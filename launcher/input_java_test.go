package launcher_test

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

const helloJava = `public class Hello {
	public static void main(String[] args) throws Exception {
		System.out.println(System.getenv("ZORILLA_RANK") + " " + java.nio.file.Files.readString(java.nio.file.Path.of("/proc/sys/kernel/hostname")).strip() + " " + String.join("|", args));
	}
}
`

// classVersion is the version of the class files of a Java release.
func classVersion(java int) uint16 { return uint16(44 + java) }

// jar makes a jar that says hello and claims to need a release of Java.
func (b *bench) jar(java int) string {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Hello.java"), []byte(helloJava), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if out, err := exec.CommandContext(b.t.Context(), "javac", "--release", "17", "-d", dir, filepath.Join(dir, "Hello.java")).CombinedOutput(); err != nil {
		b.t.Fatalf("javac: %v\n%s", err, out)
	}
	class, err := os.ReadFile(filepath.Join(dir, "Hello.class"))
	if err != nil {
		b.t.Fatal(err)
	}
	binary.BigEndian.PutUint16(class[6:], classVersion(java))
	name := filepath.Join(dir, "hello.jar")
	f, err := os.Create(name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for _, file := range []struct {
		name string
		data []byte
	}{{"META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\r\nMain-Class: Hello\r\n\r\n")}, {"Hello.class", class}} {
		e, err := w.Create(file.name)
		if err == nil {
			_, err = e.Write(file.data)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return name
}

// withoutJava takes Java away from a host.
func withoutJava(t *testing.T, h *testbed.Host) {
	t.Helper()
	onHost(t, h, "rm -rf /usr/lib/jvm/* /usr/bin/java /etc/alternatives/java")
}

func TestJar(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	plain := fmt.Sprintf("[site.plain]\nurl = %q\nslots = 1\n", b.url(farm.Plain))
	cluster := fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\nslots = 1\n", b.url(farm.Bastion))
	args := []string{"a b", "$HOME"}

	r, _ := b.attempt(launcher.Job{App: b.jar(17), Args: args, Workers: 3}, here+plain+cluster, nil)
	wantOK(t, r)
	hosts := make(map[string]bool)
	for rank := range 3 {
		var got int
		var host string
		fmt.Sscan(b.stdout(r, rank), &got, &host)
		if want := fmt.Sprintf("%d %s a b|$HOME\n", rank, host); b.stdout(r, rank) != want {
			t.Errorf("rank %d printed %q, want %q", rank, b.stdout(r, rank), want)
		}
		hosts[host] = true
	}
	if !hosts["plain"] || !hosts["inner1"] || len(hosts) != 3 {
		t.Errorf("ran on %v, want this machine, plain and inner1", hosts)
	}

	// Nobody has it: the run says what it looked for, where, and what it found.
	r, _ = b.attempt(launcher.Job{App: b.jar(99), Workers: 2}, plain+cluster, nil)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites {
		t.Errorf("outcome %q, exit %d; want sites, 3", r.Outcome, r.Exit)
	}
	wantError(t, r.Err, "site plain", "site cluster", "plain", "inner1", "no suitable java", "99", "java 17 at /")
	if r.Report.Wall > 20 {
		t.Errorf("it took %.0f s to find that out", r.Report.Wall)
	}

	// Where it is missing the worker moves on.
	withoutJava(t, farm.Plain)
	r, events := b.attempt(launcher.Job{App: b.jar(17), Workers: 2}, plain+cluster, nil)
	wantOK(t, r)
	for rank := range 2 {
		if got := b.stdout(r, rank); !strings.HasPrefix(got, fmt.Sprintf("%d inner1 ", rank)) {
			t.Errorf("rank %d printed %q, want it from inner1", rank, got)
		}
	}
	var lost []string
	for _, e := range events {
		if w, ok := e.Data.(launcher.WorkerChanged); ok && w.State == "lost" {
			lost = append(lost, w.Site+": "+w.Reason)
		}
	}
	if text := strings.Join(lost, "\n"); !strings.Contains(text, "plain: prepare hello.jar: no suitable java: java 17 needed; found no java") || strings.Contains(text, "cluster") {
		t.Errorf("lost were %q; want that there is no suitable java at plain", text)
	}

	b.failsAlone(bad{site: badURL(b.url(farm.Plain)), says: []string{"no suitable java", "17", "module load"}, job: launcher.Job{App: b.jar(17), Workers: 1}})
}
