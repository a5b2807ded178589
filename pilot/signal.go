package pilot

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals are the wishes of others that this process end. A hang-up is
// ignored: losing a terminal or a login is what agents are made for.
type signals chan os.Signal

// catchSignals begins to catch signals, before there is anything to clean up.
func catchSignals() signals {
	signal.Ignore(syscall.SIGHUP)
	s := make(signals, 4)
	signal.Notify(s, syscall.SIGTERM, os.Interrupt)
	return s
}

// release lets signals have their usual effect again.
func (s signals) release() { signal.Stop(s) }

// tell calls f, with how often it was told before, for each signal, those caught
// earlier included; not more than twice. After stop f is not called any more.
func (s signals) tell(f func(name string, before int)) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for before := range 2 {
			select {
			case got := <-s:
				f(got.String(), before)
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}
