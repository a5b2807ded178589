//go:build !linux

package pilot

import (
	"errors"
	"net"
	"time"
)

func renice(int) error { return errors.New("priorities are not supported on this system") }

func niceAs(*net.UnixConn) {}

func cpuTime() time.Duration { return 0 }

// A ticket is one of a number of things that a user may have on a host: here as many
// as there are.
type ticket struct{}

func takeTicket(string, int) *ticket { return new(ticket) }

func (*ticket) release() {}

func keepTo([]*ticket) {}
