package pilot

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// signals are the wishes of others that this process end, and the warnings of
// schedulers that it soon will. A hang-up is ignored: losing a terminal or a
// login is what agents are made for.
type signals chan os.Signal

// catchSignals begins to catch signals, before there is anything to clean up.
func catchSignals() signals {
	signal.Ignore(syscall.SIGHUP)
	s := make(signals, 8)
	signal.Notify(s, append(warnings(), syscall.SIGTERM, os.Interrupt)...)
	return s
}

// release lets signals have their usual effect again.
func (s signals) release() { signal.Stop(s) }

// tell calls f, with how often it was told before, for each wish, those caught
// earlier included; not more than twice. It calls warned for each warning, of
// which schedulers may give several. After stop it calls neither any more.
func (s signals) tell(f func(name string, before int), warned func(name string)) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for before := 0; before < 2; {
			select {
			case got := <-s:
				if slices.Contains(warnings(), got) {
					warned(got.String())
				} else {
					f(got.String(), before)
					before++
				}
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
