package runtimes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
)

// fakeJava makes a Java home whose java says its version; with a release file
// the program is never run (it would fail).
func fakeJava(t *testing.T, dir, version string, release bool) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake java is a shell script")
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'Picked up something' >&2\necho 'openjdk version \"%s\" 2024-01-01' >&2\n", version)
	if release {
		script = "#!/bin/sh\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "release"), []byte("IMPLEMENTOR=\"X\"\nJAVA_VERSION=\""+version+"\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	java := filepath.Join(dir, "bin", "java")
	if err := os.WriteFile(java, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(java)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

func env(kv ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == key {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestFindJava(t *testing.T) {
	dir := t.TempDir()
	j8 := fakeJava(t, filepath.Join(dir, "home8"), "1.8.0_412", true)
	j11 := fakeJava(t, filepath.Join(dir, "path11"), "11.0.2", false)
	j17 := fakeJava(t, filepath.Join(dir, "jvm", "seventeen"), "17.0.15", true)
	j25 := fakeJava(t, filepath.Join(dir, "jvm", "twentyfive"), "25", false)
	fakeJava(t, filepath.Join(dir, "jvm", "nonsense"), "many", false)
	os.MkdirAll(filepath.Join(dir, "jvm", "empty"), 0o755)
	links := filepath.Join(dir, "links")
	os.Mkdir(links, 0o755)
	if err := os.Symlink(j11, filepath.Join(links, "java")); err != nil {
		t.Fatal(err)
	}
	f := runtimes.Finder{
		Getenv:  env("JAVA_HOME", filepath.Join(dir, "home8"), "PATH", "relative:"+links+":/nowhere"),
		Dirs:    []string{filepath.Join(dir, "jvm")},
		NoShell: true,
	}
	for _, tt := range []struct {
		needed int
		want   runtimes.Java
	}{
		{0, runtimes.Java{Path: j8, Version: 8, From: "JAVA_HOME"}},
		{8, runtimes.Java{Path: j8, Version: 8, From: "JAVA_HOME"}},
		{9, runtimes.Java{Path: j11, Version: 11, From: "PATH"}},
		{17, runtimes.Java{Path: j17, Version: 17, From: filepath.Join(dir, "jvm")}},
		{21, runtimes.Java{Path: j25, Version: 25, From: filepath.Join(dir, "jvm")}},
	} {
		got, err := f.Java(t.Context(), tt.needed)
		if err != nil || got != tt.want {
			t.Errorf("Java(%d) = %+v, %v; want %+v", tt.needed, got, err, tt.want)
		}
	}
	_, err := f.Java(t.Context(), 26)
	for _, say := range []string{"java 26 needed", "java 25 at " + j25, "java 8 at " + j8, "none newer in JAVA_HOME, PATH"} {
		if !errors.Is(err, runtimes.ErrNoJava) || !strings.Contains(err.Error(), say) {
			t.Errorf("Java(26): %v; want %q in it", err, say)
		}
	}
	// The result is remembered.
	os.RemoveAll(filepath.Join(dir, "jvm"))
	if j, err := f.Java(t.Context(), 17); err != nil || j.Path != j17 {
		t.Errorf("second search: %v, %v", j, err)
	}

	none := runtimes.Finder{Getenv: env(), Dirs: []string{}, NoShell: true}
	if _, err := none.Java(t.Context(), 17); !errors.Is(err, runtimes.ErrNoJava) || !strings.Contains(err.Error(), "found no java in JAVA_HOME, PATH") {
		t.Errorf("without java: %v", err)
	}
}

// A login shell talks before and after, and may put Java on the PATH.
func TestLoginShell(t *testing.T) {
	dir := t.TempDir()
	java := fakeJava(t, filepath.Join(dir, "module"), "21.0.1", true)
	shell := filepath.Join(dir, "bash")
	script := fmt.Sprintf("#!/bin/sh\necho Welcome to the cluster; echo /etc/motd\nPATH=%s:$PATH; shift\neval \"$1\"\nprintf bye\n", filepath.Dir(java))
	if err := os.WriteFile(shell, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	f := runtimes.Finder{Getenv: env("SHELL", shell), Dirs: []string{}}
	got, err := f.Java(t.Context(), 17)
	if want := (runtimes.Java{Path: java, Version: 21, From: "login shell"}); err != nil || got != want {
		t.Errorf("Java = %+v, %v; want %+v", got, err, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f = runtimes.Finder{Getenv: env("SHELL", shell), Dirs: []string{}}
	if _, err := f.Java(ctx, 17); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.Java(t.Context(), 17); err != nil {
		t.Errorf("after a cancelled search: %v", err)
	}
}

// A profile that hangs costs its time limit, no more.
func TestShellHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the five seconds of the time limit")
	}
	dir := t.TempDir()
	fakeJava(t, dir, "17", true)
	shell := filepath.Join(dir, "bash")
	os.WriteFile(shell, []byte("#!/bin/sh\nsleep 1000\n"), 0o755)
	f := runtimes.Finder{Getenv: env("SHELL", shell), Dirs: []string{}}
	begin := time.Now()
	f.Java(t.Context(), 999)
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	java := fakeJava(t, dir, "17", true)
	f := runtimes.Finder{Getenv: env("JAVA_HOME", dir), Dirs: []string{}, NoShell: true}
	got, err := f.Prepare(t.Context(), runtimes.App{Kind: runtimes.JVM, Java: 11, MainClass: "M"}, runtimes.Options{
		Dir: "/sandbox", App: "app.jar", Args: []string{"-x", "y"}, Memory: 2 << 30, Cores: 2, JVMOpts: []string{"-Xmx1g"},
	})
	want := runtimes.Launch{
		Argv: []string{java, "-XX:-UsePerfData", "-Djava.io.tmpdir=/sandbox", "-XX:ErrorFile=/sandbox/hs_err_pid%p.log",
			"-XX:ActiveProcessorCount=2", "-Xmx1792m", "-Xmx1g", "-jar", "./app.jar", "-x", "y"},
		Env: []string{"JAVA_HOME=" + filepath.Dir(filepath.Dir(java))},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Prepare: %v (-want +got):\n%s", err, d)
	}
	got, err = f.Prepare(t.Context(), runtimes.App{Kind: runtimes.Script}, runtimes.Options{Dir: "/sandbox", App: "bin/run", Args: []string{"a"}})
	if d := cmp.Diff(runtimes.Launch{Argv: []string{"./bin/run", "a"}}, got); err != nil || d != "" {
		t.Errorf("Prepare script: %v (-want +got):\n%s", err, d)
	}
	if _, err := f.Prepare(t.Context(), runtimes.App{Kind: runtimes.JVM, Java: 21}, runtimes.Options{App: "app.jar"}); !errors.Is(err, runtimes.ErrNoJava) || !strings.Contains(err.Error(), "app.jar") {
		t.Errorf("too old: %v", err)
	}
	for _, bad := range []string{"", "../x", "/bin/sh"} {
		if _, err := f.Prepare(t.Context(), runtimes.App{Kind: runtimes.Native}, runtimes.Options{App: bad}); err == nil {
			t.Errorf("app %q accepted", bad)
		}
	}
	if _, err := f.Prepare(t.Context(), runtimes.App{}, runtimes.Options{App: "x"}); err == nil {
		t.Error("application of no kind accepted")
	}
}

func TestHeap(t *testing.T) {
	const mib = 1 << 20
	for memory, want := range map[int64]int64{
		0: 0, -1: 0, 1: 16 * mib, 32 * mib: 16 * mib, 100 * mib: 50 * mib, 128 * mib: 64 * mib, 512 * mib: 448 * mib,
		2048 * mib: 1792 * mib, 8192 * mib: 7168 * mib, 65536 * mib: 64512 * mib,
	} {
		if got := runtimes.Heap(memory); got != want {
			t.Errorf("Heap(%d MiB) = %d MiB, want %d", memory/mib, got/mib, want/mib)
		}
	}
}

// With a real JDK: a program is compiled, packed, inspected and run.
func TestRealJava(t *testing.T) {
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip("no javac on this machine")
	}
	dir := t.TempDir()
	src := `public class Main { public static void main(String[] a) throws Exception {
		java.io.File f = java.io.File.createTempFile("prefix", "x");
		System.out.println(a[0] + " " + f.getParent() + " " + Runtime.getRuntime().maxMemory() / 1048576);
		f.delete(); } }`
	if err := os.WriteFile(filepath.Join(dir, "Main.java"), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(javac, "--release", "11", "-d", dir, filepath.Join(dir, "Main.java")).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "Main.class"))
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, "app.jar")
	if err := os.WriteFile(p, jar("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: Main\n", "Main.class", string(b)), 0o644); err != nil {
		t.Fatal(err)
	}
	app, err := runtimes.Inspect(p)
	if want := (runtimes.App{Path: p, Kind: runtimes.JVM, Java: 11, MainClass: "Main"}); err != nil || app != want {
		t.Fatalf("Inspect = %+v, %v; want %+v", app, err, want)
	}
	var f runtimes.Finder
	l, err := f.Prepare(t.Context(), app, runtimes.Options{Dir: dir, App: "app.jar", Args: []string{"hello"}, Memory: 256 << 20,
		JVMOpts: []string{"-XX:+UseSerialGC"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.Argv[0], l.Argv[1:]...)
	cmd.Dir, cmd.Env = dir, l.Env
	out, err := cmd.CombinedOutput()
	if f := strings.Fields(string(out)); err != nil || len(f) != 3 || f[0] != "hello" || f[1] != dir || len(f[2]) != 3 {
		t.Errorf("%q: %v\n%s", l.Argv, err, out)
	}
}
