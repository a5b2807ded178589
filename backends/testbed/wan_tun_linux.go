package testbed

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// batch is how many packets are taken from one site before the others have
// their turn.
const batch = 64

// openTUN makes the card in a network namespace. What the namespace sends
// there is read from the descriptor, what is written arrives. The card goes
// when the descriptor is closed.
func openTUN(ns *os.File) (int, error) {
	fd := -1
	err := inNetwork(ns, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(wanDevice)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			unix.Close(fd)
			return fmt.Errorf("make a TUN device: %w", err)
		}
		return nil
	})
	return fd, err
}

// tuns are the descriptors of all sites' cards, and the one that ends the loop.
type tuns struct {
	fds   []int
	stop  *os.File
	done  chan struct{}
	close func() // ends the loop, if it was started, and removes the cards
}

// openTUNs makes the cards of all borders.
func openTUNs(borders []*os.File) (*tuns, error) {
	t := &tuns{done: make(chan struct{})}
	t.close = sync.OnceFunc(t.end)
	for _, ns := range borders {
		fd, err := openTUN(ns)
		if err != nil {
			t.close()
			return nil, err
		}
		t.fds = append(t.fds, fd)
	}
	return t, nil
}

// start runs r until close.
func (t *tuns) start(r *router) error {
	end, stop, err := os.Pipe()
	if err != nil {
		return err
	}
	t.stop = stop
	go func() {
		defer close(t.done)
		defer end.Close()
		r.run(t.fds, int(end.Fd()))
	}()
	return nil
}

func (t *tuns) end() {
	if t.stop != nil {
		t.stop.Close()
		<-t.done
	}
	for _, fd := range t.fds {
		unix.Close(fd)
	}
}

// run moves packets between the descriptors until stop is closed at its other
// end. It has a thread of its own that sleeps to the point: one goroutine woken
// by another comes up to a millisecond late.
func (r *router) run(fds []int, stop int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the loop
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	started := time.Now()
	polls := make([]unix.PollFd, 0, len(fds)+1)
	for _, fd := range append([]int{stop}, fds...) {
		polls = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		var next time.Duration
		for {
			var p *packet
			if p, next = r.due(time.Since(started)); p == nil {
				break
			}
			// A site whose card is down, or too busy, loses it.
			unix.Write(fds[p.to], p.data[:p.size])
			r.put(p)
		}
		var timeout *unix.Timespec
		if next >= 0 {
			left := unix.NsecToTimespec(max(0, int64(next-time.Since(started))))
			timeout = &left
		}
		if _, err := unix.Ppoll(polls, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if polls[0].Revents != 0 {
			return
		}
		for i, fd := range fds {
			if polls[i+1].Revents != 0 {
				r.take(started, i, fd)
			}
		}
	}
}

// take reads what one site sends.
func (r *router) take(started time.Time, site, fd int) {
	for range batch {
		p := r.get()
		n, err := unix.Read(fd, p.data[:])
		if err != nil || n <= 0 {
			r.put(p)
			return
		}
		p.size = n
		r.send(time.Since(started), site, p)
	}
}

// tune writes settings below /proc/sys of a network namespace. One for a part
// of the kernel that is not there is left out.
func tune(ns *os.File, settings map[string]string) error {
	return inNetwork(ns, func() error {
		for name, value := range settings {
			err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
			if err != nil && !(errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "net/bridge/")) {
				return err
			}
		}
		return nil
	})
}
