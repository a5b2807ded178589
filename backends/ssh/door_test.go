//go:build unix

package ssh_test

import (
	"context"
	"net"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestDoor has many logins to one server at once, which is greeted by few of them at a
// time, and by one when it has hung up on somebody.
func TestDoor(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	dial := tg.Dial
	var mu sync.Mutex
	var inside, most int
	rude := true // hangs up on those who are not alone
	s.auth = func(c *gossh.ServerConfig) {
		c.AuthLogCallback = func(_ gossh.ConnMetadata, method string, err error) {
			if method == "publickey" && err == nil {
				mu.Lock()
				defer mu.Unlock()
				inside--
			}
		}
	}
	tg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		mu.Lock()
		defer mu.Unlock()
		if rude && inside > 0 {
			conn.Close()
			return conn, err
		}
		inside++
		most = max(most, inside)
		return conn, err
	}
	b := ssh.Backend{Agent: "none", Shared: ssh.NewShared()}
	all := func() (refused int) {
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				l, err := b.Open(t.Context(), tg)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					go l.Close()
				case gat.ClassOf(err) == gat.Transient:
					refused++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return refused
	}
	if refused := all(); refused == 0 || refused > 8 {
		t.Errorf("%d of 12 logins were refused; want the first few", refused)
	}
	if refused := all(); refused > 0 {
		t.Errorf("after that %d were refused; want none", refused)
	}
	rude, most, b.Shared = false, 0, ssh.NewShared()
	if refused := all(); refused > 0 || most < 2 || most > 4 {
		t.Errorf("at a polite server %d were refused and up to %d made at once; want 0 and 4", refused, most)
	}
}
