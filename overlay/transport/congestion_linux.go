package transport

import (
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// shortPath is the round trip below which a path lies within one machine or
// one cluster.
const shortPath = time.Millisecond

// unpace keeps a socket that is still to listen or to connect from pacing, and
// returns the congestion control it had; empty if nothing was changed.
//
// BBR, which many hosts have as their default, paces: between two bursts it
// waits for a timer, which on a short path costs as much processor time as
// moving the bytes, at each hop, and gains nothing. Once a connection has begun
// to pace it never stops, whatever is set later, so every connection begins
// without, and settle gives those on longer paths back what they had.
func unpace(raw syscall.RawConn) (usual string) {
	_ = raw.Control(func(fd uintptr) {
		name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || !strings.HasPrefix(name, "bbr") {
			return
		}
		for _, plain := range []string{"cubic", "reno"} { // reno is open to everybody
			if unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, plain) == nil {
				usual = name
				return
			}
		}
	})
	return usual
}

// unpaceListener does the same for what a listener accepts.
func unpaceListener(l net.Listener) (usual string) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return ""
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return ""
	}
	return unpace(raw)
}

// settle gives a new connection on a path that is not short, or of unknown
// length, its usual congestion control.
func settle(conn net.Conn, usual string) {
	if tcp, ok := conn.(*net.TCPConn); ok && usual != "" {
		settleWithin(tcp, usual, shortPath)
	}
}

// settleWithin does it where the round trip is not below a limit. It reports
// whether it was.
func settleWithin(tcp *net.TCPConn, usual string, limit time.Duration) (short bool) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Rtt > 0 && time.Duration(info.Rtt)*time.Microsecond < limit {
			short = true
			return
		}
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, usual)
	})
	return short
}
