package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/zorilla-grid/zorilla/launcher"
)

// stopper turns signals into an early end of the run: the first one stops it
// gracefully, the second one at once, the third one ends this program.
type stopper struct {
	graceful, now chan struct{}
	screen        *screen
	asker         *asker
	signals       chan os.Signal
	done          chan struct{}
	wg            sync.WaitGroup

	mu    sync.Mutex
	count int
}

// interrupts begins to listen for signals. The first one also withdraws what
// is being asked.
func interrupts(s *screen, a *asker) *stopper {
	st := &stopper{
		graceful: make(chan struct{}),
		now:      make(chan struct{}),
		screen:   s,
		asker:    a,
		signals:  make(chan os.Signal, 4),
		done:     make(chan struct{}),
	}
	// SIGPIPE is taken, not ignored: being ignored is inherited by the
	// programs we start. Writing to a pipe that nobody reads is then an error.
	signal.Notify(st.signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	st.wg.Go(func() {
		for {
			select {
			case sig := <-st.signals:
				if sig != syscall.SIGPIPE {
					st.interrupt()
				}
			case <-st.done:
				return
			}
		}
	})
	return st
}

// Stopper returns what launcher.Run wants.
func (st *stopper) Stopper() launcher.Stopper {
	return launcher.Stopper{Graceful: st.graceful, Now: st.now}
}

func (st *stopper) interrupt() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.count++
	switch st.count {
	case 1:
		st.asker.Close()
		st.screen.Say("stopping the workers; interrupt again to only clean up")
		close(st.graceful)
	case 2:
		st.screen.Say("cleaning up; interrupt again to leave at once")
		close(st.now)
	case 3:
		st.screen.Say(`left without cleaning up; "zorilla gc" does the rest`)
		st.screen.Close()
		os.Exit(launcher.ExitInterrupted)
	}
}

// Gone stops the run because nobody reads what we write any more.
func (st *stopper) Gone() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.count == 0 {
		st.count++
		st.screen.Say("nobody reads the output any more; stopping the workers")
		close(st.graceful)
	}
}

// Close gives the signals their usual meaning back.
func (st *stopper) Close() {
	signal.Stop(st.signals)
	close(st.done)
	st.wg.Wait()
}
