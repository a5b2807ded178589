//go:build unix

package sshconfig_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
)

// FuzzOutput: whatever calls itself ssh and prints, a Host has a name, a port and
// absolute paths, or there is an error.
func FuzzOutput(f *testing.F) {
	for _, text := range []string{
		"", "host h\nuser u\nhostname H.example\nport 22\nidentityfile ~/.ssh/id_rsa\nuserknownhostsfile /home/account/.ssh/known hosts /x\nproxyjump a,b\n",
		"port 0\n", "identityfile %\n", "identityfile ${HOME\n", "identityfile $\n", "identityagent $\n", "identityfile ~nobody\n", "proxycommand %h%%%p\n",
		"stricthostkeychecking x\n", "connecttimeout 1w1w\n", "userknownhostsfile \nproxyjump ,\n", "identityagent none\nidentityagent\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := sshconfig.Parsed(text, "/home/other", "h")
		if err != nil {
			return
		}
		if h.HostName == "" || h.Port == "" || h.User == "" || h.ConnectTimeout < 0 || h.StrictHostKeyChecking.String() == "" {
			t.Errorf("%+v", h)
		}
		for _, p := range append(append(h.IdentityFiles, h.CertificateFiles...), h.UserKnownHostsFiles...) {
			if !filepath.IsAbs(p) && !strings.Contains(string(text), "$") {
				t.Errorf("the path %q is not absolute", p)
			}
		}
	})
}
