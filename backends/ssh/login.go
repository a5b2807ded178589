package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

const aliveMisses = 3 // intervals without a sign of life

// A login is one connection and everything done over it.
type login struct {
	*shell.Login
	c    *connector
	link *link
}

// newLogin makes a login over the last of hops, the others being jump hosts.
func newLogin(c *connector, url string, hops []*link) *login {
	last := hops[len(hops)-1]
	l := &login{c: c, link: last}
	spares := shell.NewSpares(c.backend.Sessions, last.again, (*link).close)
	l.Login = shell.New(&line{hops, spares}, shell.Config{URL: url, Host: last.end.String(), Sessions: c.backend.Sessions, Signals: true})
	l.Spawn(l.watch)
	return l
}

// watch asks the server for a sign of life now and then. Any byte received is one.
func (l *login) watch() {
	every := l.c.backend.KeepAlive
	tick := time.NewTicker(every)
	defer tick.Stop()
	answer := make(chan struct{}, 1)
	asked, missed := false, 0
	seen := l.link.wire.received.Load()
	for {
		select {
		case <-l.Done():
			return
		case <-answer:
			asked, missed = false, 0
			continue
		case <-tick.C:
		}
		if now := l.link.wire.received.Load(); now != seen {
			seen, missed = now, 0
		} else if asked {
			missed++
		}
		if missed >= aliveMisses {
			l.Fail(problem(gat.Transient, "", fmt.Errorf("the connection to %s is dead: no answer for %v", l.link.end, aliveMisses*every)))
			return
		}
		if !asked {
			asked = true
			l.Spawn(func() { // ends with the connection at the latest
				if _, _, err := l.link.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					answer <- struct{}{}
				}
			})
		}
	}
}

// A line is a connection with the jump hosts it goes through.
type line struct {
	hops   []*link // jump hosts first, the host itself last
	spares *shell.Spares[*link]
}

func (n *line) client() *gossh.Client { return n.hops[len(n.hops)-1].client }

// Wait implements [shell.Line].
func (n *line) Wait() error { return n.client().Wait() }

// Cut implements [shell.Line].
func (n *line) Cut() {
	n.spares.Close()
	closeLinks(n.hops)
}

// Open implements [shell.Line].
func (n *line) Open(ctx context.Context) (shell.Session, error) {
	s, err := openSession(ctx, n.client())
	switch {
	case err == nil:
		n.spares.Served()
		return s, nil
	case errors.Is(err, shell.ErrRefused):
		err = n.spares.Use(ctx, err, func(k *link) error {
			var err error
			s, err = openSession(ctx, k.client)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openSession opens a session on a connection. The library cannot be interrupted, so when
// ctx ends first the channel is closed as soon as it is there.
func openSession(ctx context.Context, client *gossh.Client) (shell.Session, error) {
	type result struct {
		s   *session
		err error
	}
	got, abandoned := make(chan result), make(chan struct{})
	go func() { // ends with the connection at the latest
		ch, reqs, err := client.OpenChannel("session", nil)
		r := result{err: err}
		if err == nil {
			r.s = newSession(ch, reqs)
		}
		select {
		case got <- r:
		case <-abandoned:
			if err == nil {
				ch.Close()
			}
		}
	}()
	select {
	case r := <-got:
		refused, ok := errors.AsType[*gossh.OpenChannelError](r.err)
		switch {
		case r.err == nil:
			return r.s, nil
		case !ok:
			return nil, fmt.Errorf("%w: %w", shell.ErrBroken, r.err)
		case refused.Reason == gossh.UnknownChannelType:
			return nil, refused
		}
		return nil, fmt.Errorf("%w: %w", shell.ErrRefused, refused)
	case <-ctx.Done():
		close(abandoned)
		return nil, fmt.Errorf("no answer to the request for a session: %w", context.Cause(ctx))
	}
}

// A session is one session channel.
type session struct {
	gossh.Channel
	over chan struct{} // closed when the channel is

	mu     sync.Mutex
	status int
	exited bool // the server reported how the command ended
}

func newSession(ch gossh.Channel, reqs <-chan *gossh.Request) *session {
	s := &session{Channel: ch, over: make(chan struct{})}
	go s.follow(reqs) // ends with the channel
	return s
}

// follow takes the server's word on how the command ended.
func (s *session) follow(reqs <-chan *gossh.Request) {
	for r := range reqs {
		s.mu.Lock()
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if gossh.Unmarshal(r.Payload, &m) == nil {
				s.status, s.exited = int(m.Status), true
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			if gossh.Unmarshal(r.Payload, &m) == nil {
				s.status, s.exited = 128+signalNumber(m.Signal), true
			}
		}
		s.mu.Unlock()
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
	s.Close()
	close(s.over)
}

// Exec implements [shell.Session].
func (s *session) Exec(command string, sure bool) error {
	ok, err := s.SendRequest("exec", !sure, gossh.Marshal(struct{ Command string }{command}))
	if err == nil && !ok && !sure {
		return shell.ErrNoExec
	}
	return err
}

// Subsystem implements [shell.Session].
func (s *session) Subsystem(name string) error {
	ok, err := s.SendRequest("subsystem", true, gossh.Marshal(struct{ Name string }{name}))
	if err == nil && !ok {
		return fmt.Errorf("the server has no subsystem %s", name)
	}
	return err
}

// Kill implements [shell.Session].
func (s *session) Kill() bool {
	ok, err := s.SendRequest("signal", true, gossh.Marshal(struct{ Signal string }{"KILL"}))
	return ok || err != nil
}

// Wait implements [shell.Session].
func (s *session) Wait() { <-s.over }

// Status implements [shell.Session].
func (s *session) Status() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.exited
}

// Why implements [shell.Session].
func (s *session) Why() error { return nil }

// Stderr implements [shell.Session].
func (s *session) Stderr() io.Reader { return s.Channel.Stderr() }

// signalNumber is Linux's number of a signal named as in RFC 4254, or 0.
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "TRAP":
		return 5
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "SEGV":
		return 11
	case "PIPE":
		return 13
	case "USR1":
		return 10
	case "USR2":
		return 12
	case "ALRM":
		return 14
	case "TERM":
		return 15
	case "XCPU":
		return 24
	}
	return 0
}
