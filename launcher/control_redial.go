package launcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	redialPatience = 30 * time.Minute // for one redial; questions have their own bounds
	maxQuestions   = 256              // of one redial
	maxWhy         = 200              // bytes of a client's reason
)

// A redialling is the server's side of a redial: questions go to the client, whose
// answers come back over the same connection, which only its user can open. They
// are kept nowhere.
type redialling struct {
	c       *conversation
	answers chan controlRequest
	gone    chan struct{} // closed when the client is

	mu     sync.Mutex // one question at a time
	number int        // of the last
}

// redial lets the session log in again, with questions for the client.
func (s *ControlServer) redial(c *conversation) error {
	ctx, cancel := context.WithTimeout(s.ctx, redialPatience)
	defer cancel()
	d := &redialling{c: c, answers: make(chan controlRequest), gone: make(chan struct{})}
	c.conn.SetReadDeadline(time.Now().Add(redialPatience)) // once: it ends the reading below
	s.wg.Go(func() {
		defer close(d.gone)
		defer cancel() // who went away wants nothing more
		for {
			a, err := c.receive()
			if err != nil {
				return
			}
			select {
			case d.answers <- a:
			case <-ctx.Done():
				return
			}
		}
	})
	err := s.controls.Redial(ctx, d.ask)
	cancel()
	c.conn.SetReadDeadline(time.Now())
	<-d.gone
	return err
}

// ask puts a question to the client.
func (d *redialling) ask(ctx context.Context, site, question string, secret bool) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.number++; d.number > maxQuestions {
		return "", errors.New("too many questions")
	}
	if err := d.c.send(controlReply{Type: "question", Number: d.number, Site: site, Text: question, Secret: secret}); err != nil {
		return "", err
	}
	for {
		select {
		case a := <-d.answers:
			if a.Number != d.number {
				continue // to a question that was withdrawn meanwhile
			}
			if a.Refuse {
				return "", fmt.Errorf("nobody answered: %.*q", maxWhy, a.Why)
			}
			return a.Answer, nil
		case <-d.gone:
			return "", errors.New("whoever wanted to attach went away")
		case <-ctx.Done():
			d.c.send(controlReply{Type: "withdrawn", Number: d.number})
			return "", context.Cause(ctx)
		}
	}
}

// Redial lets the launcher log in again to sites it lost. It puts its
// questions to ask, which may be nil.
func (c *Control) Redial(ctx context.Context, ask AskFunc) error {
	var asking sync.WaitGroup
	withdraw := func() {}
	defer func() {
		withdraw()
		asking.Wait()
	}()
	return c.talk(ctx, controlRequest{Do: "redial"}, func(r controlReply, reply func(controlRequest) error) error {
		switch r.Type {
		case "withdrawn":
			withdraw()
			asking.Wait()
		case "question":
			withdraw()
			asking.Wait()
			if ask == nil {
				return reply(controlRequest{Number: r.Number, Refuse: true, Why: "nobody can be asked"})
			}
			var qctx context.Context
			qctx, withdraw = context.WithCancel(ctx)
			asking.Go(func() {
				answer, err := ask(qctx, r.Site, r.Text, r.Secret)
				a := controlRequest{Number: r.Number, Answer: answer}
				if err != nil {
					a = controlRequest{Number: r.Number, Refuse: true, Why: err.Error()}
				}
				if qctx.Err() == nil {
					reply(a) // a launcher that does not hear it is seen to be gone
				}
			})
		}
		return nil
	}, nil)
}

var _ gat.Asker = (*redialling)(nil).ask
