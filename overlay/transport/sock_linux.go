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
