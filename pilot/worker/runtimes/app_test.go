package runtimes_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
)

// class is the head of a class file for a Java version, and some body.
func class(java int) string {
	return "\xca\xfe\xba\xbe\x00\x00\x00" + string(rune(java+44)) + strings.Repeat("x", 100)
}

const manifest = "Manifest-Version: 1.0\r\nMain-Class: org.example.Main\r\n\r\n"

// jar builds an archive of alternating names and contents.
func jar(files ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = io.WriteString(w, files[i+1])
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, content, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestInspectJar(t *testing.T) {
	long := "Main-Class: org.example." + strings.Repeat("a", 50) + "\r\n " + strings.Repeat("b", 60) + "\r\n"
	for _, tt := range []struct {
		name string
		jar  []byte
		main string
		java int
	}{
		{"one class", jar("META-INF/MANIFEST.MF", manifest, "org/example/Main.class", class(17)), "org.example.Main", 17},
		{"highest counts", jar("META-INF/MANIFEST.MF", manifest, "A.class", class(11), "B.class", class(25), "C.class", class(8)), "org.example.Main", 25},
		{"old class", jar("META-INF/MANIFEST.MF", manifest, "A.class", class(5)), "org.example.Main", 8},
		{"newer versions of a multi-release jar", jar("META-INF/MANIFEST.MF", manifest, "A.class", class(8), "META-INF/versions/21/A.class", class(21)), "org.example.Main", 8},
		{"module", jar("META-INF/MANIFEST.MF", manifest, "A.class", class(8), "module-info.class", class(9)), "org.example.Main", 8},
		{"no classes", jar("META-INF/MANIFEST.MF", manifest), "org.example.Main", 0},
		{"not a class", jar("META-INF/MANIFEST.MF", manifest, "A.class", "hello", "B.class", "", "C.class", "longer than eight"), "org.example.Main", 0},
		{"unix line ends", jar("META-INF/MANIFEST.MF", "Main-Class: M\n"), "M", 0},
		{"no line end", jar("META-INF/MANIFEST.MF", "Main-Class: M"), "M", 0},
		{"continued line", jar("META-INF/MANIFEST.MF", long), "org.example." + strings.Repeat("a", 50) + strings.Repeat("b", 60), 0},
		{"something before it", append([]byte("some text that is not a script\n"), jar("META-INF/MANIFEST.MF", manifest, "A.class", class(17))...), "org.example.Main", 17},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := write(t, "any.name", tt.jar, 0o644)
			got, err := runtimes.Inspect(p)
			if err != nil {
				t.Fatal(err)
			}
			want := runtimes.App{Path: p, Kind: runtimes.JVM, MainClass: tt.main, Java: tt.java}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Inspect (-want +got):\n%s", d)
			}
		})
	}
}

func TestInspectRefuses(t *testing.T) {
	good := jar("META-INF/MANIFEST.MF", manifest, "A.class", class(17))
	at := func(b []byte, from int, with ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[from:], with)
		return b
	}
	end := bytes.LastIndex(good, []byte("PK\x05\x06"))
	for _, tt := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		is      error
		say     string
	}{
		{"empty", nil, 0o755, runtimes.ErrEmpty, "empty"},
		{"truncated jar", good[:len(good)-30], 0o644, runtimes.ErrBadJar, "copy or build it again"},
		{"half a jar", good[:len(good)/2], 0o644, runtimes.ErrBadJar, "copy or build it again"},
		{"jar without its middle", append(bytes.Clone(good[:60]), good[len(good)-60:]...), 0o644, runtimes.ErrBadJar, ""},
		{"jar without main class", jar("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n"), 0o644, runtimes.ErrNoMain, "--main-class"},
		{"main class in a later section", jar("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\nName: x\nMain-Class: M\n"), 0o644, runtimes.ErrNoMain, "--main-class"},
		{"no manifest", jar("readme", "x"), 0o644, runtimes.ErrNoMain, "no manifest"},
		{"empty zip", jar(), 0o644, runtimes.ErrNoMain, "no manifest"},
		{"option as main class", jar("META-INF/MANIFEST.MF", "Main-Class: -version\n"), 0o644, runtimes.ErrNoMain, "not the name of a class"},
		{"giant manifest", jar("META-INF/MANIFEST.MF", strings.Repeat("X: y\n", 1<<20)), 0o644, runtimes.ErrBadJar, "longer than"},
		{"directory longer than the file", at(good, end+12, 0xfe, 0xff, 0xff, 0x7f), 0o644, runtimes.ErrBadJar, "longer than the file"},
		{"a class that is Java source", []byte("class A {}"), 0o644, runtimes.ErrUnknown, "#!/bin/sh"},
		{"class file", []byte(class(17)), 0o644, runtimes.ErrUnknown, "jar --create"},
		{"text", []byte("hello\n"), 0o755, runtimes.ErrUnknown, "#!/bin/sh"},
		{"script without x", []byte("#!/bin/sh\n"), 0o644, runtimes.ErrNotExecutable, "chmod +x"},
		{"script of Windows", []byte("#!/bin/sh\r\necho\r\n"), 0o755, runtimes.ErrUnknown, "dos2unix"},
		{"script of nothing", []byte("#!\n"), 0o755, runtimes.ErrUnknown, "interpreter"},
		{"damaged elf", []byte("\x7fELF" + strings.Repeat("\x02", 100)), 0o755, runtimes.ErrUnknown, "damaged"},
		{"damaged pe", []byte("MZ" + strings.Repeat("\xff", 100)), 0o755, runtimes.ErrUnknown, "damaged"},
		{"damaged mach-o", []byte("\xcf\xfa\xed\xfe" + strings.Repeat("\xff", 100)), 0o755, runtimes.ErrUnknown, "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.is == runtimes.ErrNotExecutable {
				t.Skip("no such permission on Windows")
			}
			app, err := runtimes.Inspect(write(t, "app", tt.content, tt.mode))
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.say) {
				t.Errorf("Inspect = %+v, %v; want %v with %q", app, err, tt.is, tt.say)
			}
		})
	}
	dir := t.TempDir()
	if _, err := runtimes.Inspect(dir); !errors.Is(err, runtimes.ErrDirectory) {
		t.Errorf("directory: %v", err)
	}
	if _, err := runtimes.Inspect(filepath.Join(dir, "none")); !errors.Is(err, runtimes.ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	link := filepath.Join(dir, "link")
	if os.Symlink("none", link) == nil {
		if _, err := runtimes.Inspect(link); !errors.Is(err, runtimes.ErrMissing) || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("dangling link: %v", err)
		}
	}
	if _, err := runtimes.Inspect(write(t, "A.java", []byte("class A {}"), 0o644)); !errors.Is(err, runtimes.ErrUnknown) || !strings.Contains(err.Error(), "javac") {
		t.Errorf("source: %v", err)
	}
	if os.Geteuid() != 0 && runtime.GOOS != "windows" {
		if _, err := runtimes.Inspect(write(t, "app", good, 0)); !errors.Is(err, runtimes.ErrUnreadable) {
			t.Errorf("unreadable: %v", err)
		}
	}
}

func TestInspectNative(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	app, err := runtimes.Inspect(exe)
	if err != nil {
		t.Fatal(err)
	}
	if app.Kind != runtimes.Native || app.OS != runtime.GOOS || app.Machine != runtime.GOARCH || !app.Runs(runtime.GOOS, runtime.GOARCH) || app.Runs("plan9", "mips") {
		t.Errorf("this test is %+v", app)
	}

	script := write(t, "s", []byte("#!/usr/bin/env python3\nprint()\n"), 0o755)
	app, err = runtimes.Inspect(script)
	if want := (runtimes.App{Path: script, Kind: runtimes.Script, Interpreter: "/usr/bin/env python3"}); err != nil || app != want {
		t.Errorf("script is %+v, %v; want %+v", app, err, want)
	}

	// A universal Mach-O file begins like a class.
	fat := binary.BigEndian.AppendUint32(nil, 0xcafebabe)
	fat = append(fat, 0, 0, 0, 2)
	if _, err := runtimes.Inspect(write(t, "fat", append(fat, make([]byte, 60)...), 0o755)); err == nil || strings.Contains(err.Error(), "class") {
		t.Errorf("universal file: %v", err)
	}

	odd := write(t, "odd", []byte("\xeb\x01some other format"), 0o755)
	if app, err := runtimes.InspectAs(odd, runtimes.Native); err != nil || app.Kind != runtimes.Native {
		t.Errorf("odd file by force: %+v, %v", app, err)
	}
	if _, err := runtimes.InspectAs(script, runtimes.JVM); !errors.Is(err, runtimes.ErrBadJar) {
		t.Errorf("script as a jar: %v", err)
	}
}

func TestParseKind(t *testing.T) {
	for s, want := range map[string]runtimes.Kind{"": runtimes.Auto, "auto": runtimes.Auto, "native": runtimes.Native, "jvm": runtimes.JVM} {
		if k, err := runtimes.ParseKind(s); k != want || err != nil {
			t.Errorf("ParseKind(%q) = %v, %v", s, k, err)
		}
	}
	if _, err := runtimes.ParseKind("java"); err == nil {
		t.Error("ParseKind accepts java")
	}
}

// Every prefix of a jar is refused, none with a panic.
func TestEveryTruncation(t *testing.T) {
	b := jar("META-INF/MANIFEST.MF", manifest, "A.class", class(17))
	dir := t.TempDir()
	p := filepath.Join(dir, "app.jar")
	for n := 1; n < len(b); n++ {
		if err := os.WriteFile(p, b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if app, err := runtimes.InspectAs(p, runtimes.JVM); !errors.Is(err, runtimes.ErrBadJar) {
			t.Fatalf("first %d of %d bytes: %+v, %v", n, len(b), app, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	good := jar("META-INF/MANIFEST.MF", manifest, "A.class", class(17))
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte("MZ"))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"))
	if exe, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(exe[:min(len(exe), 4096)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []runtimes.Kind{runtimes.Auto, runtimes.JVM} {
			app, err := runtimes.InspectContent(bytes.NewReader(b), int64(len(b)), kind)
			if err != nil && !cmp.Equal(app, runtimes.App{}, cmpopts.EquateEmpty()) {
				t.Errorf("error %v with %+v", err, app)
			}
			if err == nil && app.Kind == runtimes.JVM && app.MainClass == "" {
				t.Errorf("jar without a main class accepted: %+v", app)
			}
		}
	})
}
