package gattest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing/iotest"

	"github.com/zorilla-grid/zorilla/gat"
)

var fileTests = map[string]func(*site){
	"round trip": func(s *site) {
		random := make([]byte, 3<<20)
		rand.Read(random)
		for _, data := range [][]byte{nil, []byte("a"), []byte("line\r\n\x00\xff"), random} {
			name := s.file()
			s.put(name, 0o644, data)
			if got, err := s.read(name); err != nil || !bytes.Equal(got, data) {
				s.Errorf("%d bytes come back as %d others (%v)", len(data), len(got), err)
			}
		}
	},

	"odd names": func(s *site) {
		for _, base := range awkward {
			if base == "" || strings.ContainsAny(base, "/\x00") {
				continue
			}
			name := s.file() + base
			s.put(name, 0o600, []byte(base))
			if got, err := s.read(name); err != nil || string(got) != base {
				s.Errorf("file %q holds %q (%v)", name, got, err)
			}
			if err := s.files().Remove(s.ctx, name); err != nil {
				s.Errorf("remove %q: %v", name, err)
			}
			if _, err := s.read(name); err == nil {
				s.Errorf("file %q is still there", name)
			}
		}
	},

	"replaces": func(s *site) {
		name := s.file()
		s.put(name, 0o600, []byte("a longer text than the next"))
		s.put(name, 0o600, []byte("short"))
		if got, err := s.read(name); err != nil || string(got) != "short" {
			s.Errorf("replaced file holds %q (%v)", got, err)
		}
	},

	"in one step": func(s *site) {
		name := s.file()
		one, two := bytes.Repeat([]byte("1"), 300_000), bytes.Repeat([]byte("2"), 200_000)
		s.put(name, 0o600, one)
		ctx, stop := context.WithCancel(s.ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer stop()
			for i := range 10 {
				s.put(name, 0o600, [][]byte{two, one}[i%2])
			}
		})
		for ctx.Err() == nil {
			got, err := s.read(name)
			if err != nil || !bytes.Equal(got, one) && !bytes.Equal(got, two) {
				s.Errorf("while it is replaced the file holds %d bytes, neither old nor new (%v)", len(got), err)
				break
			}
		}
		wg.Wait()
	},

	"broken source": func(s *site) {
		dir := s.dir()
		name := path.Join(dir, "file")
		s.put(name, 0o600, []byte("old"))
		source := io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(errors.New("the disk burns")))
		if err := s.files().Put(s.ctx, name, 0o600, source); err == nil || !strings.Contains(err.Error(), "the disk burns") {
			s.Errorf("put from a broken source: %v, want its error", err)
		}
		if got, err := s.read(name); err != nil || string(got) != "old" {
			s.Errorf("after a put that went wrong the file holds %d bytes (%v), want the old ones", len(got), err)
		}
		s.holds(dir, "file")
	},

	"ended context": func(s *site) {
		dir := s.dir()
		name := path.Join(dir, "file")
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		// The context ends in the middle of an endless source.
		n := 0
		source := readerFunc(func(b []byte) (int, error) {
			if n += len(b); n > 1<<20 {
				cancel()
			}
			clear(b)
			return len(b), nil
		})
		if err := s.files().Put(ctx, name, 0o600, source); err == nil {
			s.Error("put whose context ended: no error")
		}
		if _, err := s.read(name); err == nil {
			s.Error("put whose context ended: the file is there")
		}
		s.holds(dir)
	},

	"modes": func(s *site) {
		if _, ok := s.Login.(gat.Runner); !ok {
			s.Skip("the login cannot run commands to look at modes")
		}
		for mode, want := range map[fs.FileMode]string{0o600: "-rw-------", 0o755: "-rwxr-xr-x", 0o400: "-r--------"} {
			name := s.file()
			s.put(name, mode, []byte("x"))
			if got := strings.TrimSpace(string(s.mustRun(ToolMode, name).out)); got != want {
				s.Errorf("mode %v is %q, want %q", mode, got, want)
			}
		}
	},

	"limit": func(s *site) {
		name := s.file()
		s.put(name, 0o600, []byte("0123456789"))
		for limit, want := range map[int64]string{0: "", 1: "0", 4: "0123", 10: "0123456789", 99: "0123456789", -1: "0123456789"} {
			var b bytes.Buffer
			if err := s.files().Get(s.ctx, name, &b, limit); err != nil || b.String() != want {
				s.Errorf("get at most %d bytes: %q (%v), want %q", limit, b.String(), err, want)
			}
		}
	},

	"missing": func(s *site) {
		name := s.file()
		s.class(s.files().Get(s.ctx, name, io.Discard, -1), gat.NotFound, "get a missing file")
		s.class(s.files().Get(s.ctx, name, io.Discard, 5), gat.NotFound, "get the beginning of a missing file")
		if err := s.files().Put(s.ctx, name+"/sub/file", 0o600, strings.NewReader("x")); err == nil {
			s.Error("put into a missing directory: no error")
		}
		s.put(name, 0o600, nil)
		if err := s.files().Remove(s.ctx, name+"-a", name, name+"-b"); err != nil {
			s.Errorf("remove missing files: %v", err)
		}
		if _, err := s.read(name); err == nil {
			s.Error("a file between missing ones was not removed")
		}
		if err := s.files().Remove(s.ctx); err != nil {
			s.Errorf("remove nothing: %v", err)
		}
	},

	"relative": func(s *site) {
		s.class(s.files().Put(s.ctx, "x", 0o600, strings.NewReader("x")), gat.Invalid, "put to a relative path")
		s.class(s.files().Get(s.ctx, "x", io.Discard, -1), gat.Invalid, "get a relative path")
		s.class(s.files().Remove(s.ctx, "x"), gat.Invalid, "remove a relative path")
	},
}

func (s *site) files() gat.Files { return s.Login.(gat.Files) }

func (s *site) put(name string, mode fs.FileMode, data []byte) {
	s.Helper()
	if err := s.files().Put(s.ctx, name, mode, bytes.NewReader(data)); err != nil {
		s.Errorf("put %q: %v", name, err)
	}
}

// dir returns a directory of the test's own, where that can be made.
func (s *site) dir() string {
	s.Helper()
	if _, ok := s.Login.(gat.Runner); !ok {
		s.Log("half-written files not looked for: the login cannot run commands")
		return s.Dir
	}
	dir := s.file()
	if r := s.mustRun(ToolMkdir, dir); r.code != 0 {
		s.Fatalf("mkdir %s: %s", dir, r.errs)
	}
	return dir
}

// holds checks that nothing half-written is left in a directory made by dir.
func (s *site) holds(dir string, want ...string) {
	s.Helper()
	if dir == s.Dir {
		return
	}
	var names []string
	s.eventually("no half-written file is left", func() bool {
		names = strings.Fields(string(s.mustRun(ToolList, dir).out))
		return slices.Equal(names, want)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
