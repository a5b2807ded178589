package testbed

import (
	"context"
	"errors"
	"testing"
)

// Farm is a running [Net] of one layout, without distances and with every
// kind of host that a login can meet.
type Farm struct {
	*Net

	// Plain's .bashrc writes to stdout and stderr whenever a command is run.
	Plain *Host
	// Bastion is in the client's network and in that of Inner1 and Inner2.
	Bastion *Host
	// Inner1 and Inner2 can be reached from Bastion and from each other only.
	Inner1, Inner2 *Host
	// NoForward refuses to forward TCP connections and Unix sockets in either
	// direction. Inner3 is behind it as Inner1 is behind Bastion.
	NoForward *Host
	// Inner3 can be reached from NoForward only.
	Inner3 *Host

	clientPort port
}

// SSH starts a farm for one test and closes it when the test ends. It skips
// or fails the test as [Require] does. Starting takes a fraction of a second; tests
// that neither kill nor cut hosts had better use [Shared].
func SSH(t testing.TB) *Farm {
	t.Helper()
	return during(t, start)
}

// start starts a farm. The caller closes it.
func start(ctx context.Context) (_ *Farm, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	f := &Farm{Net: newNet()}
	f.layOut(newSubnet())
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.raise(ctx, f.clientPort, int(segments)); err != nil {
		return nil, err
	}
	return f, nil
}
