//go:build !linux

package transport

import (
	"net"
	"syscall"
)

// tuneTCP sends small frames at once; the rest is left to the system.
func tuneTCP(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
	}
}

// checkOwner cannot ask who is at the other end; the mode of the socket's
// directory has to do.
func checkOwner(net.Conn) error { return nil }

// tuneLane sends small frames at once.
func tuneLane(conn net.Conn) { tuneTCP(conn) }

// shorten leaves the kernel's queue as it is.
func shorten(pipe) {}

// pathOf knows nothing of the path.
func pathOf(pipe) laneInfo { return laneInfo{} }

// unpace leaves the choice of congestion control to the system.
func unpace(syscall.RawConn) string { return "" }

// unpaceListener does the same.
func unpaceListener(net.Listener) string { return "" }

// settle has nothing to give back.
func settle(net.Conn, string) {}
