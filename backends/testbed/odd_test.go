//go:build linux

package testbed_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

// TestOdd logs in to odd hosts and looks whether they are.
func TestOdd(t *testing.T) {
	net := testbed.OddHosts(t, testbed.Oddity{Name: "plain"}, testbed.Linux310("old"),
		testbed.Oddity{Name: "fish", Shell: "/usr/bin/fish", SSHD: "SetEnv ODD=yes\n", Setup: "echo made >/etc/odd"})
	// What asks for a descriptor of a process, as since Linux 5.3, and prints the error's number.
	call := "perl -e 'print syscall(" + strconv.Itoa(unix.SYS_PIDFD_OPEN) + ", 0+$$, 0) < 0 ? 0+$! : 0'"
	for _, c := range []struct{ host, line, want string }{
		{"plain", call, "0"},
		{"old", call, strconv.Itoa(int(unix.ENOSYS))},
		{"old", "uname -n", "old"},
		{"fish", "echo $FISH_VERSION | string length -q; and echo $ODD; and cat /etc/odd", "yes\nmade"},
	} {
		out, err := net.Command(within(t, 20*time.Second), "ssh", "-F", net.SSHConfig, c.host, c.line).CombinedOutput()
		if got := strings.TrimSpace(string(out)); got != c.want || err != nil {
			t.Errorf("%s on %s prints %q, error %v; want %q", c.line, c.host, got, err, c.want)
		}
	}
	if net.Host("none") != nil || net.Host("old").Name != "old" {
		t.Error("hosts are not found by their names")
	}
}
