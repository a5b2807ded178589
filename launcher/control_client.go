package launcher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Control speaks to the launcher of a running run.
type Control struct {
	dir  string // the run's state directory
	name string
}

// Control returns the means to speak to a run's launcher. The error matches
// [ErrNoRun] when there is no such run.
func (s *State) Control(name string) (*Control, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	return &Control{dir: path, name: name}, nil
}

// Status asks how the run does. Like all methods of Control it returns an
// error that matches [ErrNotRunning] when the launcher is not there.
func (c *Control) Status(ctx context.Context) (Status, error) {
	var st *Status
	err := c.talk(ctx, controlRequest{Do: "status"}, func(r controlReply, _ func(controlRequest) error) error {
		if r.Status != nil {
			st = r.Status
		}
		return nil
	}, nil)
	if err == nil && st == nil {
		err = fmt.Errorf("run %s: no status in the answer", c.name)
	}
	if err != nil {
		return Status{}, err
	}
	return *st, nil
}

// Cancel ends the run: gracefully, or, with now set, at once. It does not
// wait for the end.
func (c *Control) Cancel(ctx context.Context, now bool) error {
	return c.talk(ctx, controlRequest{Do: "cancel", Now: now}, nil, nil)
}

// Events calls f with everything that happened in the run and then with what
// happens, in order, until the run ends or ctx does. With output set, what
// workers write from now on is among it; a caller that is too slow misses
// some of that, and skipped, if not nil, is told how many pieces.
func (c *Control) Events(ctx context.Context, output bool, f func(Event), skipped func(pieces int64)) error {
	ended := false
	err := c.talk(ctx, controlRequest{Do: "events", Output: output}, func(r controlReply, _ func(controlRequest) error) error {
		if r.Type == "skipped" && skipped != nil {
			skipped(r.Skipped)
		}
		return nil
	}, func(e Event) {
		if _, ok := e.Data.(RunEnded); ok {
			ended = true
		}
		f(e)
	})
	if ended {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("run %s: %w: it went away before the end", c.name, ErrNotRunning)
	}
	return err
}

// talk makes one request. It returns when the answer is complete.
func (c *Control) talk(ctx context.Context, q controlRequest, reply func(controlReply, func(controlRequest) error) error, event func(Event)) error {
	conn, err := dialControl(ctx, c.dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("run %s: %w", c.name, ErrNotRunning)
		}
		return fmt.Errorf("run %s: %w", c.name, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	fail := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("run %s: %w: it hung up", c.name, ErrNotRunning)
		}
		return fmt.Errorf("run %s: %w", c.name, err)
	}
	say := func(q controlRequest) error {
		q.V = 1
		line, err := json.Marshal(q)
		if err != nil {
			return err
		}
		_, err = conn.Write(append(line, '\n'))
		return err
	}
	if err := say(q); err != nil {
		return fail(err)
	}
	br := bufio.NewReaderSize(conn, 64<<10)
	for {
		line, err := readLine(br, maxEvent)
		if err != nil {
			return fail(err)
		}
		if len(line) == 0 {
			continue
		}
		var r controlReply
		if err := json.Unmarshal(line, &r); err != nil {
			return fail(err)
		}
		switch r.Type {
		case "done":
			if r.Error != "" {
				return fmt.Errorf("run %s: %s", c.name, r.Error)
			}
			return nil
		case "status", "overlay", "question", "withdrawn", "skipped":
			if reply != nil {
				if err := reply(r, say); err != nil {
					return fail(err)
				}
			}
		default:
			if e, err := DecodeEvent(line); err == nil && event != nil {
				event(e)
			}
		}
	}
}

func dialControl(ctx context.Context, dir string) (conn net.Conn, err error) {
	err = viaShortPath(dir, func(short string) error {
		conn, err = (&net.Dialer{Timeout: controlPatience}).DialContext(ctx, "unix", filepath.Join(short, controlName))
		return err
	})
	return conn, err
}

// maxSocketPath is how long the path of a unix socket may be everywhere.
const maxSocketPath = 100

// viaShortPath calls f with a path of dir that is short enough for unix
// sockets in it. The path is valid during the call only.
func viaShortPath(dir string, f func(dir string) error) error {
	if len(dir)+len("/")+len(controlName) <= maxSocketPath {
		return f(dir)
	}
	if runtime.GOOS == "linux" {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		return f("/proc/self/fd/" + strconv.Itoa(int(d.Fd())))
	}
	tmp, err := os.MkdirTemp("", "z")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	link := filepath.Join(tmp, "s")
	if err := os.Symlink(dir, link); err != nil {
		return err
	}
	return f(link)
}
