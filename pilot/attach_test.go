//go:build unix

package pilot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func listenAt(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveOne answers the first connection with f.
func serveOne(t *testing.T, l *net.UnixListener, f func(*net.UnixConn)) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.AcceptUnix()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		f(conn)
	}()
	return done
}

// TestSockets has sockets with paths of any length.
func TestSockets(t *testing.T) {
	t.Parallel()
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "s"), filepath.Join(long, "s")} {
		touch(t, path) // a dead socket in the way
		l := listenAt(t, path)
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
			t.Fatalf("%d bytes: mode %v, %v; want a socket of 0600", len(path), info.Mode(), err)
		}
		done := serveOne(t, l, func(c *net.UnixConn) { io.Copy(c, c) })
		conn, err := dialUnix(t.Context(), path)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(path), err)
		}
		io.WriteString(conn, "hello")
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("%d bytes: got %q, %v", len(path), got, err)
		}
		conn.Close()
		<-done
	}
}

// TestAttach passes bytes both ways, each direction until its own end.
func TestAttach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server func(*net.UnixConn)
		in     string
		want   string
	}{
		"input ends first": {func(conn *net.UnixConn) {
			all, _ := io.ReadAll(conn)
			io.WriteString(conn, "got "+string(all))
		}, "question", "got question"},
		"agent hangs up": {func(conn *net.UnixConn) { io.WriteString(conn, "bye") }, "", "bye"},
		"large": {func(conn *net.UnixConn) { io.Copy(conn, conn) }, strings.Repeat("0123456789", 200_000),
			strings.Repeat("0123456789", 200_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			done := serveOne(t, listenAt(t, path), c.server)
			var in io.Reader = strings.NewReader(c.in)
			if c.in == "" { // a launcher that keeps its end open
				r, w := io.Pipe()
				defer w.Close()
				in = r
			}
			var out bytes.Buffer
			if err := attach(t.Context(), path, in, &out); err != nil {
				t.Error(err)
			}
			<-done
			if out.String() != c.want {
				t.Errorf("got %d bytes %.40q, want %d bytes %.40q", out.Len(), out.String(), len(c.want), c.want)
			}
		})
	}
}

// TestAttachHalfClosed has the agent say all before the launcher does.
func TestAttachHalfClosed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	got := make(chan string, 1)
	done := serveOne(t, listenAt(t, path), func(conn *net.UnixConn) {
		b := make([]byte, 5)
		io.ReadFull(conn, b)
		got <- string(b)
		conn.CloseWrite()
	})
	r, w := io.Pipe()
	defer w.Close()
	ended := make(chan error, 1)
	go func() { ended <- attach(t.Context(), path, r, io.Discard) }()
	io.WriteString(w, "hello")
	if s := <-got; s != "hello" {
		t.Errorf("the agent got %q", s)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-done
}

// TestAttachEarly comes before the agent listens.
func TestAttachEarly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- attach(t.Context(), path, strings.NewReader("hello"), &out) }()
	select {
	case err := <-ended:
		t.Fatalf("a bridge to a socket that is not there yet ended: %v", err)
	default:
	}
	done := serveOne(t, listenAt(t, path), func(c *net.UnixConn) { io.Copy(c, c) })
	if err := <-ended; err != nil || out.String() != "hello" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	<-done
}

// TestAttachNobody finds no agent: a socket that is not there at the end of
// patience, or one that nobody listens on.
func TestAttachNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	listenAt(t, path).Close()
	err := attach(t.Context(), path, strings.NewReader(""), io.Discard)
	if !errors.Is(err, errNoAgent) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), path) {
		t.Errorf("refused: got error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = attach(ctx, filepath.Join(t.TempDir(), "absent"), strings.NewReader(""), io.Discard)
	if err == nil {
		t.Error("attached to nothing")
	}
	err = attach(t.Context(), filepath.Join(path, "s"), strings.NewReader(""), io.Discard)
	if err == nil || errors.Is(err, errNoAgent) {
		t.Errorf("a socket in a socket: got error %v", err)
	}
}
