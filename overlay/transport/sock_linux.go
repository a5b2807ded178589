package transport

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	notSentLow  = 128 << 10        // bytes in the kernel that are not on their way yet
	userTimeout = 30 * time.Second // sent and not acknowledged
)

// tuneTCP keeps the kernel's queue short, so that control overtakes bulk, and
// lets a dead path fail soon. What does not work is left as it is.
func tuneTCP(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
}

// checkOwner refuses a unix socket's client that is another user.
func checkOwner(conn net.Conn) error {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask who is there: %w", err)
	}
	var cred *syscall.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("ask who is there: %w", err)
	}
	if int(cred.Uid) != os.Getuid() {
		return fmt.Errorf("%w: user %d is not the owner", ErrRefused, cred.Uid)
	}
	return nil
}

// tuneLane sends small frames at once and lets a dead path fail soon. The
// kernel chooses the buffers: bulk is alone on a lane.
func tuneLane(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
}

// laneTCP returns the TCP connection below a lane, or nil.
func laneTCP(p pipe) syscall.RawConn {
	l, ok := p.(*lane)
	if !ok {
		return nil
	}
	tcp, ok := l.Conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// shorten keeps the kernel's queue short on one of several stripes, so that
// none lags far behind the others.
func shorten(p pipe) {
	if raw := laneTCP(p); raw != nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow)
		})
	}
}

// pathOf returns what the kernel knows of a lane's path; zeros where it is not TCP.
func pathOf(p pipe) (path laneInfo) {
	raw := laneTCP(p)
	if raw == nil {
		return path
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			path = laneInfo{
				rtt:   time.Duration(info.Rtt) * time.Microsecond,
				least: time.Duration(info.Min_rtt) * time.Microsecond,
				lost:  uint64(info.Total_retrans),
			}
		}
	})
	return path
}
