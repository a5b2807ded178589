//go:build unix

package pilot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line := func(i int) string { return fmt.Sprintf("line %07d %s\n", i, strings.Repeat("x", 80)) }
	const lines = 50_000
	for i := range lines {
		if n, err := l.Write([]byte(line(i))); err != nil || n != len(line(i)) {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	all, err := os.ReadFile(path)
	if err != nil || len(all) > maxLog || len(all) < maxLog/3 {
		t.Fatalf("the log has %d bytes, %v; want at most %d", len(all), err, maxLog)
	}
	if !bytes.HasPrefix(all, []byte("line ")) || !bytes.HasSuffix(all, []byte(line(lines-1))) {
		t.Errorf("the log begins with %.20q and ends with %q", all, all[len(all)-20:])
	}
	if tail := l.tail(1000); !bytes.Equal(tail, all[len(all)-1000:]) {
		t.Errorf("the tail is %q", tail)
	}
	if tail := l.tail(10 * maxLog); !bytes.Equal(tail, all) {
		t.Errorf("the whole log as a tail has %d bytes, want %d", len(tail), len(all))
	}

	giant := bytes.Repeat([]byte("y"), 3*maxLog)
	if n, err := l.Write(giant); err != nil || n != len(giant) {
		t.Errorf("giant entry: %d, %v", n, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > maxLog || info.Mode().Perm() != 0o600 {
		t.Errorf("after a giant entry: %d bytes, mode %v, %v", info.Size(), info.Mode(), err)
	}
	if tail := l.tail(3); string(tail) != "yy\n" {
		t.Errorf("a giant entry ends with %q", tail)
	}
}

func TestLogFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if l, err := openLog(filepath.Join(dir, "log")); err == nil {
		l.Close()
		t.Error("a log was opened behind a link")
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("the file behind a link is now %q", b)
	}
}
