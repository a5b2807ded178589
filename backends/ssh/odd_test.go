//go:build linux

package ssh_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

// oddHosts lack what most have, or have another. Whole runs meet many more: see
// package launcher.
var oddHosts = []testbed.Oddity{
	{Name: "busyboxassh", Setup: "ln -sf busybox /bin/sh"},
	{Name: "bare", Setup: "rm -f /usr/bin/setsid /usr/bin/perl*\nsed -i /Subsystem/d /etc/ssh/sshd_config"},
	{Name: "onesession", SSHD: "MaxSessions 1\n"},
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
