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
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// The control socket speaks lines of JSON. A connection carries one request
// and its answer: one or more lines, of which the last has "done" set.
const (
	maxControlLine  = 64 << 10
	maxControlConns = 64
	controlPatience = 5 * time.Second // for a request to come, for an answer to be taken
)

// controlRequest is what a client says.
type controlRequest struct {
	V      int    `json:"v"`
	Do     string `json:"do,omitempty"`     // "status", "overlay", "events", "cancel" or "redial"
	Now    bool   `json:"now,omitempty"`    // cancel: do not wait for the workers
	Output bool   `json:"output,omitempty"` // events: with output
	// What answers a question: its number and the answer, or why there is none.
	Number int    `json:"number,omitempty"`
	Answer string `json:"answer,omitempty"`
	Refuse bool   `json:"refuse,omitempty"`
	Why    string `json:"why,omitempty"`
}

// controlReply is one line of an answer. Events are lines of their own form.
type controlReply struct {
	V       int      `json:"v"`
	Type    string   `json:"type"` // "status", "overlay", "question", "withdrawn", "skipped" or "done"
	Status  *Status  `json:"status,omitempty"`
	Overlay *Overlay `json:"overlay,omitempty"` // a part of it
	Site    string   `json:"site,omitempty"`
	Text    string   `json:"text,omitempty"`
	Secret  bool     `json:"secret,omitempty"`
	Number  int      `json:"number,omitempty"` // of a question, from 1, and of the one that is withdrawn
	Skipped int64    `json:"skipped,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// AskFunc puts a question to the user until ctx ends; see [gat.Asker].
type AskFunc = gat.Asker

// Controls are what others may do to a running run. They may be called
// from several goroutines at once.
type Controls struct {
	// Cancel ends the run: gracefully, or, with now set, at once. It returns
	// without waiting.
	Cancel func(now bool)
	// Redial logs in to the detached sites again. Questions go to ask, which
	// reaches the user who wanted it. It returns when all were tried.
	Redial func(ctx context.Context, ask AskFunc) error
	// Overlay returns the network as it is. It may be nil.
	Overlay func(ctx context.Context) (Overlay, error)
}

// ControlServer answers on the control socket of a running run.
type ControlServer struct {
	run      *RunDir
	controls Controls
	listener net.Listener
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	wg       sync.WaitGroup
	slots    chan struct{}
	path     string
}

// ServeControl opens the control socket of a run, for its user alone.
func ServeControl(run *RunDir, c Controls) (*ControlServer, error) {
	path := filepath.Join(run.Path, controlName)
	os.Remove(path) // of a launcher that died; we hold the run's lock
	var l net.Listener
	err := viaShortPath(run.Path, func(dir string) (err error) {
		l, err = net.Listen("unix", filepath.Join(dir, controlName))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control socket of run %s: %w", run.Name, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its name may be the short one, see Close
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		os.Remove(path)
		return nil, fmt.Errorf("control socket of run %s: %w", run.Name, err)
	}
	s := &ControlServer{run: run, controls: c, listener: l, slots: make(chan struct{}, maxControlConns), path: path}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Close removes the socket and waits for answers under way. Who follows the
// events goes on to do so until the run's state is closed.
func (s *ControlServer) Close() error {
	s.stop()
	err := s.listener.Close()
	os.Remove(s.path)
	s.wg.Wait()
	return err
}

func (s *ControlServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			// Out of descriptors: wait for some to be closed.
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		select {
		case s.slots <- struct{}{}:
			s.wg.Go(func() { s.serve(conn) })
		default:
			conn.Close()
		}
	}
}

// conversation is the server's side of one connection.
type conversation struct {
	conn net.Conn
	in   *bufio.Reader
}

// receive reads what the client says next, until the connection's deadline for it.
func (c *conversation) receive() (controlRequest, error) {
	var q controlRequest
	line, err := readLine(c.in, maxControlLine)
	if err != nil {
		return q, err
	}
	return q, json.Unmarshal(line, &q)
}

func (c *conversation) send(r controlReply) error {
	r.V = 1
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.write(append(line, '\n'))
}

func (c *conversation) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(controlPatience)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

func (s *ControlServer) serve(conn net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { conn.SetDeadline(time.Now().Add(time.Second)) })
	defer stop()
	c := &conversation{conn: conn, in: bufio.NewReader(conn)}
	finish := func(err error) {
		done := controlReply{Type: "done"}
		if err != nil {
			done.Error = err.Error()
		}
		c.send(done) // nobody may be there to hear it
		conn.Close()
		<-s.slots
	}
	c.conn.SetReadDeadline(time.Now().Add(controlPatience)) //nolint:errcheck // what is closed is not read from either
	q, err := c.receive()
	if err == nil && q.V != 1 {
		err = fmt.Errorf("version %d is not known to this program", q.V)
	}
	if err == nil {
		switch q.Do {
		case "status":
			st := s.run.Journal.Status()
			err = c.send(controlReply{Type: "status", Status: &st})
		case "overlay":
			err = s.tellOverlay(c)
		case "events":
			f, before, ferr := s.run.Journal.follow(q.Output)
			if ferr != nil { // the run has just ended, and so does this server: hanging up says so
				conn.Close()
				<-s.slots
				return
			}
			s.run.followers.Go(func() {
				defer s.run.Journal.unfollow(f)
				finish(s.events(c, f, before))
			})
			return
		case "cancel":
			s.controls.Cancel(q.Now)
		case "redial":
			err = s.redial(c)
		default:
			err = fmt.Errorf("unknown request %q", q.Do)
		}
	}
	finish(err)
}

// events sends the history, which are the first bytes of the events file, and
// then what happens, until the run ends or the client goes.
func (s *ControlServer) events(c *conversation, f *follower, before int64) error {
	file, err := os.Open(filepath.Join(s.run.Path, eventsName))
	if err != nil {
		return err
	}
	defer file.Close()
	buf := make([]byte, 64<<10)
	for history := io.LimitReader(file, before); ; {
		n, err := history.Read(buf)
		if n > 0 {
			if err := c.write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}

	// The client sends nothing more: reading sees it go.
	gone := make(chan struct{})
	c.conn.SetReadDeadline(time.Time{})
	s.run.followers.Go(func() {
		defer close(gone)
		io.Copy(io.Discard, c.in)
	})
	defer func() {
		c.conn.SetReadDeadline(time.Now())
		<-gone
	}()
	for {
		select {
		case <-f.ready:
		case <-gone:
			return errors.New("client went away")
		}
		lines, skipped, ended := f.take()
		if skipped > 0 {
			if err := c.send(controlReply{Type: "skipped", Skipped: skipped}); err != nil {
				return err
			}
		}
		if len(lines) > 0 {
			if err := c.write(lines); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}
