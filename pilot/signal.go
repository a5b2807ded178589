package pilot

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onSignal calls f when somebody wants this process to end. A hang-up is
// ignored: losing a terminal or a login is what agents are made for.
func onSignal(f func(name string)) (stop func()) {
	signal.Ignore(syscall.SIGHUP)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case s := <-signals:
				f(s.String())
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
