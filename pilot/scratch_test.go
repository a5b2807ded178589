//go:build linux

package pilot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestScratchPlaces(t *testing.T) {
	t.Parallel()
	usual := []string{"/local", "/var/tmp", "/tmp", "/dev/shm"}
	for name, c := range map[string]struct {
		env  []string
		want []string
	}{
		"nothing set":        {nil, usual},
		"all set":            {[]string{"TMPDIR", "/job/1/", "USER", "ann", "HOME", "/home/ann"}, []string{"/job/1", "/local", "/scratch/ann", "/var/tmp", "/tmp", "/dev/shm"}},
		"in the home":        {[]string{"TMPDIR", "/home/ann/tmp", "HOME", "/home/ann/"}, usual},
		"the home":           {[]string{"TMPDIR", "/home/ann", "HOME", "/home/ann"}, usual},
		"beside the home":    {[]string{"TMPDIR", "/home/anna", "HOME", "/home/ann"}, append([]string{"/home/anna"}, usual...)},
		"home is the root":   {[]string{"HOME", "/"}, usual},
		"home of a daemon":   {[]string{"HOME", "/tmp"}, []string{"/local", "/var/tmp", "/dev/shm"}},
		"relative":           {[]string{"TMPDIR", "tmp", "HOME", "x"}, usual},
		"user that climbs":   {[]string{"USER", "../etc"}, usual},
		"user that is a dir": {[]string{"USER", ".."}, usual},
	} {
		if d := cmp.Diff(c.want, scratchPlaces(envOf(c.env...))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestFindBase tries directories that cannot be scratch before one that can.
func TestFindBase(t *testing.T) {
	t.Parallel()
	own := BaseName(os.Getuid())
	dir := func() string { return t.TempDir() }
	file := filepath.Join(dir(), "file")
	touch(t, file)
	open, linked, taken := dir(), dir(), dir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(open, own), 0o700), os.Chmod(filepath.Join(open, own), 0o755),
		os.Symlink(dir(), filepath.Join(linked, own)),
		os.WriteFile(filepath.Join(taken, own), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	bad := []struct{ dir, why string }{
		{"/no/such/dir", "/no/such/dir: no such file or directory"},
		{file, file + ": not a directory"},
		{open, filepath.Join(open, own) + " is open to others (mode 0755)"},
		{linked, filepath.Join(linked, own) + " is not a directory"},
		{taken, filepath.Join(taken, own) + " is not a directory"},
	}
	if os.Getuid() == 0 {
		theirs := dir()
		path := filepath.Join(theirs, own)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, struct{ dir, why string }{theirs, path + " belongs to another user (uid 12345)"})
	} else {
		closed := dir()
		if err := os.Chmod(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, struct{ dir, why string }{closed, closed + ": not writable"})
	}
	for name, flags := range map[string]struct {
		flags   uintptr
		options string
		why     string
	}{
		"noexec": {unix.MS_NOEXEC, "size=64m", "programs cannot run there (noexec)"},
		"full":   {0, "size=1m", "only 1"},
	} {
		at := dir()
		if err := unix.Mount("tmpfs", at, "tmpfs", flags.flags, flags.options); err != nil {
			t.Logf("%s: not tried, this user cannot mount: %v", name, err)
			continue
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
		bad = append(bad, struct{ dir, why string }{at, filepath.Join(at, own) + ": " + flags.why})
	}
	var places []string
	for _, b := range bad {
		places = append(places, b.dir, b.dir)
	}
	_, err := findBase(t.Context(), places)
	if err == nil {
		t.Fatal("a place was found where none is")
	}
	host, _ := os.Hostname()
	for _, b := range append(bad, struct{ dir, why string }{"", "no directory on " + host + " can be scratch"}) {
		if n := strings.Count(err.Error(), b.why); n != 1 {
			t.Errorf("the error says %d times %q: %v", n, b.why, err)
		}
	}
	good := dir()
	base, err := findBase(t.Context(), append(places, good, dir()))
	if err != nil || base != filepath.Join(good, own) {
		t.Errorf("found %q, %v; want one in %s", base, err, good)
	}
	if left := names(t, base); len(left) > 0 {
		t.Errorf("the search has left %q", left)
	}
	for _, b := range bad { // what was made in vain is gone
		if b.why != "" && strings.Contains(b.why, "noexec") || strings.Contains(b.why, "only") {
			if left := names(t, b.dir); len(left) > 0 {
				t.Errorf("the search has left %q in %s", left, b.dir)
			}
		}
	}
}
