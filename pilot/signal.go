package pilot

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onSignal calls f, with how often it was told before, when somebody wants this
// process to end; not more than twice. A hang-up is ignored: losing a terminal
// or a login is what agents are made for. After stop f is not called any more.
func onSignal(f func(name string, before int)) (stop func()) {
	signal.Ignore(syscall.SIGHUP)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for before := range 2 {
			select {
			case s := <-signals:
				f(s.String(), before)
			case <-quit:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(quit)
		wg.Wait()
	}
}
