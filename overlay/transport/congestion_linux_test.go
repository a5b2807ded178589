package transport

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// congestion returns the congestion control of a socket, after setting it if
// one is named; it ends the test if the system has it not.
func congestion(t *testing.T, conn syscall.Conn, set string) string {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if e := raw.Control(func(fd uintptr) {
		if set != "" {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, set)
		}
		if err == nil {
			name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		}
	}); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Skipf("congestion control %q: %v", set, err)
	}
	return name
}

// TestUnpaced holds that connections of a listener with BBR begin without it,
// keep on without it on a short path, and get it back on one of unknown length.
func TestUnpaced(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	congestion(t, l.(*net.TCPListener), "bbr")
	usual := unpaceListener(l)
	if usual != "bbr" {
		t.Fatalf("the listener had %q, want bbr", usual)
	}
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp := conn.(*net.TCPConn)
	if got := congestion(t, tcp, ""); got == "bbr" {
		t.Errorf("the connection began with %s", got)
	}
	if !settleWithin(tcp, usual, shortPath) {
		t.Errorf("a path within this machine is not short")
	}
	if got := congestion(t, tcp, ""); got == "bbr" {
		t.Errorf("on a short path it has %s", got)
	}
	settleWithin(tcp, usual, 0)
	if got := congestion(t, tcp, ""); got != "bbr" {
		t.Errorf("on a long path it has %s, want bbr", got)
	}
}

// TestCongestionKept holds that one that does not pace is left alone.
func TestCongestionKept(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	congestion(t, l.(*net.TCPListener), "reno")
	if usual := unpaceListener(l); usual != "" {
		t.Errorf("changed, and had %q", usual)
	}
	if got := congestion(t, l.(*net.TCPListener), ""); got != "reno" {
		t.Errorf("it has %s, want reno", got)
	}
}
