package openssh

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	maxSocket = 86 // bytes of a socket's path: ssh adds 17 for a while, and macOS takes 104
	pollTime  = 5 * time.Millisecond
	endTime   = 2 * time.Second // for a master to end by itself
	keptText  = 16 << 10        // bytes of what ssh says
)

// keeperScript binds the life of a process to a pipe of ours.
//
//go:embed keeper.sh
var keeperScript string

// A master is an ssh process of ours that makes a connection and lets others
// use it over a socket. It lives no longer than this process, whatever ends that.
type master struct {
	dir  string // ours alone, and gone with the master
	to   address
	said *text // what ssh wrote
	asks *asks // nil when nobody can be asked
	life io.Closer
	cmd  *exec.Cmd
	done chan struct{} // closed when the master has ended
	once sync.Once
}

// newDir makes a directory for sockets, with a path short enough for them.
func newDir() (string, error) {
	dir, err := os.MkdirTemp("", "zorilla-ssh-")
	if err == nil && len(filepath.Join(dir, "m")) > maxSocket {
		os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", "zorilla-ssh-")
	}
	if err != nil {
		return "", fmt.Errorf("make a directory for the connection's socket: %w", err)
	}
	return dir, nil
}

func (m *master) socket() string { return filepath.Join(m.dir, "m") }

// start runs ssh as a master with these arguments.
func (m *master) start(program string, args, env []string) error {
	argv := append([]string{"-c", keeperScript, "zorilla-ssh-keeper", m.dir, program}, args...)
	m.cmd = exec.Command("/bin/sh", argv...)
	m.cmd.Env, m.cmd.Stderr, m.cmd.WaitDelay = env, m.said, endTime
	apart(m.cmd)
	life, err := m.cmd.StdinPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	m.life = life
	go func() { // ends with the master
		m.cmd.Wait()
		close(m.done)
	}()
	return nil
}

// await waits for the connection. The time of a user who is asked does not count.
func (m *master) await(ctx context.Context, limit time.Duration) (*mux, error) {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for left := limit; left > 0; {
		select {
		case <-m.done:
			return nil, m.why()
		case <-ctx.Done():
			return nil, fmt.Errorf("ssh has not logged in%s: %w", m.lastSaid(), context.Cause(ctx))
		case <-tick.C:
		}
		if _, err := os.Lstat(m.socket()); err == nil {
			if w, err := dialMux(ctx, m.socket()); err == nil {
				return w, nil
			}
		}
		if m.asks != nil {
			if err := m.asks.failed(); err != nil {
				return nil, err
			}
			if m.asks.waiting() {
				continue
			}
		}
		left -= pollTime
	}
	return nil, problem(gat.Transient, "is the host up, and does a command of the configuration (ProxyCommand, Match exec) hang?",
		fmt.Errorf("ssh has not logged in within %v%s", limit, m.lastSaid()))
}

// why says what ssh gave as the reason for its end.
func (m *master) why() error {
	if m.asks != nil {
		if err := m.asks.failed(); err != nil {
			return err
		}
	}
	return explain(m.said.String(), m.to, m.asks != nil)
}

func (m *master) lastSaid() string {
	if s := lastLine(m.said.String()); s != "" {
		return fmt.Sprintf(" (the last it said: %q)", s)
	}
	return ""
}

// prompted reports whether the user was asked something but about a host's key.
func (m *master) prompted() bool { return m.asks != nil && m.asks.needed() }

// stop tells the master to end, and does not wait for it.
func (m *master) stop() {
	m.once.Do(func() {
		if m.life != nil {
			m.life.Close()
		}
		if m.asks != nil {
			m.asks.close()
		}
	})
}

// end ends the master and returns when nothing of it is left.
func (m *master) end() {
	m.stop()
	if m.cmd != nil && m.cmd.Process != nil {
		timer := time.NewTimer(endTime)
		defer timer.Stop()
		select {
		case <-m.done:
		case <-timer.C:
			killAll(m.cmd)
			<-m.done
		}
	}
	os.RemoveAll(m.dir)
}

// A text keeps the end of what is written to it.
type text struct {
	mu    sync.Mutex
	kept  []byte
	total int // bytes written so far
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total += len(p)
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - keptText; over > 0 {
		t.kept = bytes.Clone(t.kept[over:])
	}
	return len(p), nil
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// mark is a place in the text for since.
func (t *text) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// since is what was written after a mark and is still kept.
func (t *text) since(mark int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept[max(0, len(t.kept)-(t.total-mark)):])
}

// lastLine is the last line of text that says something.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return printable(strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:]))
}
