package gatmem

import (
	"context"
	"io"
	"slices"
	"sync"
)

// killed is the exit status of a process that was killed: 128 + SIGKILL.
const killed = 128 + 9

// Program is what runs as a process. It returns its exit status, soon after
// ctx ends; the status then is that of a killed process.
type Program func(ctx context.Context, p *Proc) int

// Proc is a running process.
type Proc struct {
	Args   []string // of the command, its own name first
	Env    []string
	Dir    string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	machine *Machine
	pid     int
	kill    context.CancelFunc
	tree    *tree
}

// tree is a process with its descendants. Guarded by Machine.mu.
type tree struct {
	live   map[*Proc]struct{}
	killed bool // nothing starts in it any more
}

func newTree() *tree { return &tree{live: make(map[*Proc]struct{})} }

func (t *tree) kill() {
	t.killed = true
	for p := range t.live {
		p.kill()
	}
}

// Machine returns the machine the process runs on.
func (p *Proc) Machine() *Machine { return p.machine }

// Spawn starts a child that does the same things as another program would, in
// the background, with no input and output.
func (p *Proc) Spawn(args ...string) bool {
	child := &Proc{Args: args, Env: p.Env, Dir: p.Dir, Stdin: empty{}, Stdout: io.Discard, Stderr: io.Discard,
		machine: p.machine, tree: p.tree}
	return p.machine.start(child, nil)
}

// start makes p a process of its tree and calls ended when it ended. It does not
// start, and says so, when there is no such program or the tree was killed.
func (m *Machine) start(p *Proc, ended func(code int)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	program := m.programs[p.Args[0]]
	if program == nil || m.closed || p.tree.killed {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.lastPid++
	p.pid, p.kill = m.lastPid, cancel
	m.procs[p.pid] = p
	p.tree.live[p] = struct{}{}
	m.wg.Go(func() {
		code := program(ctx, p)
		if ctx.Err() != nil {
			code = killed
		}
		cancel()
		m.mu.Lock()
		delete(m.procs, p.pid)
		delete(p.tree.live, p)
		m.mu.Unlock()
		if ended != nil {
			ended(code)
		}
	})
	return true
}

// getenv returns the last value of a variable.
func (p *Proc) getenv(name string) (string, bool) {
	for _, kv := range slices.Backward(p.Env) {
		if len(kv) > len(name) && kv[len(name)] == '=' && kv[:len(name)] == name {
			return kv[len(name)+1:], true
		}
	}
	return "", false
}

// empty is an input that is at its end.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// pipeSize is how much a pipe holds before its writer has to wait.
const pipeSize = 64 << 10

// pipe is a pipe as operating systems have them: with a buffer, and an end on
// either side.
type pipe struct {
	mu     sync.Mutex
	turn   *sync.Cond
	buf    []byte
	eof    bool // the writer closed its end
	broken bool // the reader closed its end, or the process was killed
}

func newPipe() *pipe {
	p := new(pipe)
	p.turn = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 && !p.eof && !p.broken && len(b) > 0 {
		p.turn.Wait()
	}
	if p.broken {
		return 0, io.ErrClosedPipe
	}
	if len(p.buf) == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	p.turn.Broadcast()
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(b) {
		for len(p.buf) >= pipeSize && !p.eof && !p.broken {
			p.turn.Wait()
		}
		if p.eof || p.broken {
			return n, io.ErrClosedPipe
		}
		part := min(len(b)-n, pipeSize-len(p.buf))
		p.buf = append(p.buf, b[n:n+part]...)
		n += part
		p.turn.Broadcast()
	}
	return n, nil
}

// Close ends what the reader gets, after what is in the pipe.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eof = true
	p.turn.Broadcast()
	return nil
}

// destroy ends both sides at once.
func (p *pipe) destroy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.turn.Broadcast()
}
