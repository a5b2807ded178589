package testbed

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/zorilla-grid/zorilla/gat"
)

// Target returns a target for a host, as its user, from the network's client.
// Its Home has the key and the known hosts and is gone when the test ends.
func (n *Net) Target(t testing.TB, scheme string, h *Host) gat.Target {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join(home, ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"id_ed25519": n.Key, "known_hosts": n.KnownHosts} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return gat.Target{
		Site: h.Name,
		URL:  &url.URL{Scheme: scheme, User: url.User(h.User), Host: h.Addr},
		Dial: n.Dial,
		Home: home,
	}
}
