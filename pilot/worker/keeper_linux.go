package worker

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const hasGuards = true

// keeper starts the guards of a yard, talks to them and buries them.
type keeper struct {
	y        *Yard
	slots    []guardSlot
	pipeSize int
	wg       sync.WaitGroup // of all guards and followed workers

	// mu is held while a guard is being forked and while strays are looked
	// for: a guard that is not in the map yet would count as one.
	mu     sync.Mutex
	guards map[int]*guard // by pid
	closed bool
}

type guardSlot struct {
	mu sync.Mutex // held while the slot's guard is started
	g  *guard
}

func newKeeper(y *Yard) (*keeper, error) {
	if err := inheritOrphans(); err != nil {
		return nil, err
	}
	k := &keeper{y: y, slots: make([]guardSlot, y.cfg.Slots), guards: make(map[int]*guard), pipeSize: pipeSize}
	for k.pipeSize > pipeMin && 2*k.pipeSize*y.cfg.Slots > pipeBudget {
		k.pipeSize /= 2
	}
	return k, nil
}

// inheritOrphans makes us the parent of descendants whose own parents end. Linux
// before 3.4, and emulators of other processors, know of no such thing: there a
// process that hides from its ancestors is found by the lock it inherited only.
func inheritOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("become a child subreaper: %w", err)
	}
	return nil
}

// ready starts the guard of the slot unless it lives.
func (k *keeper) ready(slot int) error {
	_, err := k.guard(slot)
	return err
}

func (k *keeper) guard(slot int) (*guard, error) {
	s := &k.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.g != nil {
		select {
		case <-s.g.gone:
		default:
			return s.g, nil
		}
	}
	g, err := k.fork(slot)
	if err != nil {
		return nil, fmt.Errorf("start guard of slot %d: %w", slot, err)
	}
	s.g = g
	return g, nil
}

func (k *keeper) fork(slot int) (*guard, error) {
	g, theirs, err := newGuard(k.y.cfg.StartTimeout)
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	argv := append(append([]string(nil), k.y.cfg.Guard...), guardArgs(k.y.path, slot)...)
	cmd := &exec.Cmd{
		Path:        cmp.Or(k.y.cfg.Program, argv[0]),
		Args:        argv,
		Dir:         "/",
		Env:         []string{"GOMAXPROCS=2"}, // nobody's secrets, and few threads
		Stderr:      os.Stderr,
		ExtraFiles:  append(theirs, k.y.pilot, k.y.use),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		g.hangUp()
		return nil, ErrClosed
	}
	if err := cmd.Start(); err != nil {
		g.hangUp()
		return nil, err
	}
	g.cmd = cmd
	k.guards[cmd.Process.Pid] = g
	k.wg.Go(func() { k.serve(slot, g) }) // under mu, so that close waits for it
	return g, nil
}

// serve waits until the guard is dead, and clears up after it.
func (k *keeper) serve(slot int, g *guard) {
	g.life.Read(make([]byte, 1)) //nolint:errcheck // there is nothing but an end

	k.mu.Lock()
	closing := k.closed
	k.mu.Unlock()
	if closing {
		timer := time.AfterFunc(closeLimit, func() { g.cmd.Process.Kill() }) //nolint:errcheck // gone is as good
		g.cmd.Wait()                                                         //nolint:errcheck // it is gone: that was the aim
		timer.Stop()
	} else {
		g.cmd.Process.Kill() //nolint:errcheck // gone is as good
		g.cmd.Wait()         //nolint:errcheck // as above
	}
	// Only now, after the wait, is everything that it kept our child.
	k.mu.Lock()
	delete(k.guards, g.cmd.Process.Pid)
	k.mu.Unlock()
	killed, left := k.sweepStrays()

	g.reading.Lock() // its last words have been heard
	g.hangUp()
	g.mu.Lock()
	p, fault := g.cur, g.fault
	g.cur = nil
	close(g.gone)
	g.mu.Unlock()
	g.reading.Unlock()
	if !closing || left > 0 {
		k.y.cfg.Logger.Warn("guard died", "slot", slot, "err", fault, "killed", killed, "left", left)
	}
	if p != nil {
		lost := fmt.Errorf("%w: its guard died", ErrLost)
		if closing {
			lost = fmt.Errorf("%w: the yard was closed", ErrLost)
		}
		p.finish(Exit{Code: -1, Err: lost, Killed: closing, Swept: killed, Left: left})
	}
}

// sweepStrays kills what dead guards have left to us: our children in a foreign
// session that are no guards, and all below them.
func (k *keeper) sweepStrays() (killed, left int) {
	self, err := unix.Getsid(0)
	if err != nil {
		return 0, 0
	}
	pid := os.Getpid()
	var dead []int // zombies among them, for us to reap
	kl := killer{list: func() ([]proc, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		all, err := processes()
		if err != nil {
			return nil, err
		}
		dead = dead[:0]
		return below(all, func(p proc) bool {
			if p.ppid != pid || p.session == self || k.guards[p.pid] != nil {
				return false
			}
			dead = append(dead, p.pid)
			return true
		}, true), nil
	}}
	return kl.sweep(sweepLimit, func() {
		for _, d := range dead {
			unix.Wait4(d, nil, unix.WNOHANG, nil) //nolint:errcheck // alive yet, or gone
		}
	})
}

// close ends all guards and what they keep.
func (k *keeper) close() error {
	k.mu.Lock()
	k.closed = true
	guards := make([]*guard, 0, len(k.guards))
	for _, g := range k.guards {
		guards = append(guards, g)
	}
	k.mu.Unlock()
	for _, g := range guards {
		g.mu.Lock()
		g.order(numbers(nil, frameLeave), nil) //nolint:errcheck // gone is as good
		g.mu.Unlock()
	}
	k.wg.Wait()
	if _, left := k.sweepStrays(); left > 0 {
		return errors.New("some processes of workers would not die: " + strconv.Itoa(left))
	}
	return nil
}
