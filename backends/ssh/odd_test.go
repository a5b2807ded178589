//go:build linux

package ssh_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

// oddHosts lack programs that most have, or have others.
var oddHosts = []testbed.Oddity{
	{Name: "csh", Shell: "/bin/bsd-csh", Setup: "echo 'echo welcome to csh; alias cd pwd' >/home/alice/.cshrc"},
	{Name: "tcsh", Shell: "/bin/tcsh", Setup: `printf 'echo "welcome\\!"\nalias ls ls -F\nset noglob noclobber\n' >/home/alice/.tcshrc`},
	{Name: "fish", Shell: "/usr/bin/fish"},
	{Name: "noperl", Setup: "rm -f /usr/bin/setsid /usr/bin/perl*"},
	{Name: "bashassh", Setup: "ln -sf bash /bin/sh"},
	{Name: "busyboxassh", Setup: "ln -sf busybox /bin/sh"},
	{Name: "nosftp", Setup: "sed -i /Subsystem/d /etc/ssh/sshd_config"},
	{Name: "onesession", SSHD: "MaxSessions 1\nMaxStartups 1\n"},
}

// TestOddHosts runs the suite on each of them.
func TestOddHosts(t *testing.T) {
	t.Parallel()
	net := testbed.OddHosts(t, oddHosts...)
	for _, odd := range oddHosts {
		t.Run(odd.Name, func(t *testing.T) {
			t.Parallel()
			host := net.Host(odd.Name)
			gattest.Test(t, gattest.Harness{
				Dir:     siteDir(t, host),
				Find:    gattest.Processes,
				Foreign: "4000000000.1.00000000",
				NoSweep: true,
				Open:    func(t testing.TB) gat.Login { return open(t, net.Target(t, "ssh", host)) },
			})
		})
	}
}
