package openssh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// maxAsking is how many programs of ssh's may want to ask at once: one for each
// host that a login goes through, and a notice.
const maxAsking = 8

// asks puts the prompts of one master to the user, one at a time.
type asks struct {
	listener net.Listener
	site     string
	ask      gat.Asker
	tell     func()          // called when an answer cannot be given again
	ctx      context.Context // ends with the login
	cancel   context.CancelFunc
	slots    chan struct{}
	turn     sync.Mutex

	mu   sync.Mutex
	open int  // prompts that wait for an answer
	need bool // an answer cannot be given again
	err  error
}

// newAsks listens in dir. Questions are withdrawn when ctx ends.
func newAsks(ctx context.Context, dir string, t gat.Target) (*asks, error) {
	listener, err := net.Listen("unix", filepath.Join(dir, "a"))
	if err != nil {
		return nil, fmt.Errorf("listen for the prompts of ssh: %w", err)
	}
	a := &asks{listener: listener, site: t.Site, ask: t.Ask, slots: make(chan struct{}, maxAsking)}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.tell = func() {
		if t.Prompted != nil {
			t.Prompted(ctx)
		}
	}
	go a.serve() // ends with the listener
	return a, nil
}

func (a *asks) serve() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		select {
		case a.slots <- struct{}{}:
			go func() { // ends with the connection or the login
				defer func() { <-a.slots }()
				defer conn.Close()
				a.answer(conn)
			}()
		default:
			conn.Close()
		}
	}
}

// answer reads one prompt and writes the user's answer.
func (a *asks) answer(conn net.Conn) {
	defer context.AfterFunc(a.ctx, func() { conn.Close() })()
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	prompt := make([]byte, min(binary.BigEndian.Uint32(head[1:]), maxPrompt))
	if _, err := io.ReadFull(conn, prompt); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	go func() { // ssh withdraws its prompt when it ends the program that asks
		io.Copy(io.Discard, conn)
		cancel()
	}()
	answer, err := a.put(ctx, head[0], strings.Join(shell.Lines(string(prompt)), "\n"))
	if err == nil {
		conn.Write(append([]byte{'y'}, answer...))
	}
}

// put asks the user, when no other prompt of this login is before him.
func (a *asks) put(ctx context.Context, kind byte, prompt string) (string, error) {
	a.count(1)
	defer a.count(-1)
	a.turn.Lock()
	defer a.turn.Unlock()
	if err := a.failed(); err != nil {
		return "", err
	}
	host := isHostKey(prompt)
	if !host && shell.Expired(prompt) {
		err := errors.New("the password has expired: the server asks for a new one")
		a.fail(problem(gat.Denied, shell.HintExpired, err))
		return "", err
	}
	answer, err := a.ask(ctx, a.site, prompt, kind == kindQuestion && !host)
	switch {
	case ctx.Err() != nil || kind == kindNotice:
		// A notice needs no answer: ssh goes on when the user has done his part.
		if kind == kindNotice {
			a.prompted()
		}
		return "", context.Canceled
	case err != nil:
		class, hint, cause := gat.Denied, "", err
		if e, ok := errors.AsType[*gat.Error](err); ok {
			class, hint, cause = e.Class, e.Hint, e.Err
		}
		a.fail(problem(class, hint, fmt.Errorf("ask %q: %w", lastLine(prompt), cause)))
		return "", err
	case kind == kindConfirm:
		a.prompted()
		if !strings.EqualFold(strings.TrimSpace(answer), "yes") {
			return "", errors.New("not confirmed")
		}
		return "", nil
	}
	if !host {
		a.prompted()
	}
	return answer, nil
}

// isHostKey reports whether a prompt is about a host key. The answer is no
// secret, and need not be given again: ssh writes it down.
func isHostKey(prompt string) bool {
	return strings.Contains(prompt, "(yes/no") || strings.HasPrefix(prompt, "Please type 'yes'")
}

func (a *asks) count(n int) {
	a.mu.Lock()
	a.open += n
	a.mu.Unlock()
}

// waiting reports whether the user is being asked.
func (a *asks) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open > 0
}

// fail remembers why the login is given up: nothing more is asked.
func (a *asks) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
}

// prompted notes an answer that cannot be given again.
func (a *asks) prompted() {
	a.mu.Lock()
	a.need = true
	a.mu.Unlock()
	a.tell()
}

func (a *asks) needed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.need
}

func (a *asks) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func (a *asks) close() {
	a.cancel()
	a.listener.Close()
}
