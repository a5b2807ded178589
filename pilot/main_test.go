//go:build unix

package pilot

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// TestMain lets the test's program be an agent, its guards and a bridge, as the
// pilot's own program would be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent", "guard", "warden", "attach":
			os.Exit(mainUnder(cmp.Or(os.Getenv(testPolicy), policy.Path), os.Args))
		}
	}
	os.Exit(m.Run())
}

// testPolicy is the variable that names a policy for the agents of a test.
const testPolicy = "TEST_POLICY"

// keepRecord is a record that stays.
var keepRecord = strings.Replace(record, `"v":1`, `"v":1,"keep":true`, 1)

const record = `{"v":1,"session":"abcdefgh","site":"s","role":"pilot","hubs":["tcp:h:1"],"base":"/tmp","lease":"1m",` +
	`"pin":"0000000000000000000000000000000000000000000000000000000000000000","token":"t","secret":"00000000000000000000000000000000"}`

func TestBootFile(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, text string, mode fs.FileMode) string {
		name := filepath.Join(t.TempDir(), "boot")
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct {
		make func(t *testing.T) string
		text string // of the error; empty: none
		left bool   // the file stays
	}{
		"good":            {func(t *testing.T) string { return write(t, record, 0o600) }, "", false},
		"for others, too": {func(t *testing.T) string { return write(t, keepRecord, 0o600) }, "", true},
		"bad record":      {func(t *testing.T) string { return write(t, "{}", 0o600) }, "boot record", false},
		"absent":          {func(t *testing.T) string { return filepath.Join(t.TempDir(), "boot") }, "no such file", false},
		"group reads":     {func(t *testing.T) string { return write(t, record, 0o640) }, "not a file of ours alone", true},
		"others write":    {func(t *testing.T) string { return write(t, record, 0o602) }, "not a file of ours alone", true},
		"directory":       {func(t *testing.T) string { return t.TempDir() }, "not a file of ours alone", true},
		"symlink": {func(t *testing.T) string {
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(write(t, record, 0o600), link); err != nil {
				t.Fatal(err)
			}
			return link
		}, "too many levels", true},
		"pipe": {func(t *testing.T) string {
			name := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, "not a file of ours alone", true},
		"of another user": {func(t *testing.T) string {
			name := write(t, record, 0o600)
			if err := os.Chown(name, 12345, -1); err != nil {
				t.Skip("only root can give a file away")
			}
			return name
		}, "not a file of ours alone", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name := c.make(t)
			boot, err := readBootFrom(name)
			switch {
			case c.text == "" && (err != nil || boot.Session != "abcdefgh"):
				t.Errorf("got %+v, %v", boot, err)
			case c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)):
				t.Errorf("got %+v and error %v, want one that says %q", boot, err, c.text)
			}
			if _, err := os.Lstat(name); c.left != (err == nil) {
				t.Errorf("the file stays: %v, want %v", err == nil, c.left)
			}
		})
	}
}

func TestBootPipe(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, record)
		w.Close()
	}()
	boot, err := readBootSoon(r)
	if err != nil || boot.Token != "t" {
		t.Errorf("got %+v, %v", boot, err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the pipe is still open: %v", err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"zorilla-pilot"}, {"zorilla-pilot", "fly"}, {"zorilla-pilot", "agent"}, {"zorilla-pilot", "version", "x"}} {
		if got := Main(args); got != 2 {
			t.Errorf("%q ended with %d, want 2", args, got)
		}
	}
	if got := Main([]string{"zorilla-pilot", "agent", "abcdefgh", filepath.Join(t.TempDir(), "none")}); got != 1 {
		t.Errorf("an agent without a boot file ended with %d, want 1", got)
	}
}
