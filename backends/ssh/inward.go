package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

// Inner logs in to a host that only this login's host can reach. The user's configuration
// is asked for it, with two exceptions: whatever it says of jumps or proxies is
// passed over, and when neither it nor host names a user, it is the same as here. A
// passphrase that was given is not asked for again. A login made with a nil dial ends with
// this one.
func (l *login) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	e, err := parseEndpoint(host)
	if err != nil {
		return nil, l.Fault("log in", problem(gat.Invalid, "", fmt.Errorf("inner host %q: %w", host, err)))
	}
	h, err := l.c.resolve(ctx, e)
	if err == nil && e.user == "" && h.user == sshconfig.LocalUser() && h.user != l.link.end.user {
		e.user = l.link.end.user
		h, err = l.c.resolve(ctx, e)
	}
	if err != nil {
		return nil, l.Fault("log in", fmt.Errorf("%s: %w", e, err))
	}
	h.jumps = []endpoint{l.link.end}
	if dial == nil {
		dial = l.link.dial
	}
	k, err := l.c.connect(ctx, h, dial)
	if err != nil {
		select {
		case <-l.Done():
			err = l.Gone()
		default:
		}
		return nil, l.Fault("log in", through(h, l.link.end, err))
	}
	return newLogin(l.c, "ssh://"+h.String(), []*link{k}), nil
}

// How implements [gat.Described].
func (l *login) How() string { return l.link.how }

// Forward implements [gat.Forwarder]: by direct-tcpip (RFC 4254, section 7.2) or,
// for unix sockets, OpenSSH's direct-streamlocal (its PROTOCOL file, section 2.4).
func (l *login) Forward(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.link.dial(ctx, network, address)
	if err != nil {
		if refused, ok := errors.AsType[*gossh.OpenChannelError](err); ok &&
			(refused.Reason == gossh.Prohibited || refused.Reason == gossh.UnknownChannelType) {
			err = problem(gat.Denied, "its sshd_config forbids forwarding", fmt.Errorf("%w: %w", gat.ErrForwarding, err))
		}
		return nil, l.Fault("forward", fmt.Errorf("connect to %s: %w", address, err))
	}
	return conn, nil
}

var (
	_ gat.Described = (*login)(nil)
	_ gat.Forwarder = (*login)(nil)
	_ gat.Login     = (*login)(nil)
	_ gat.Runner    = (*login)(nil)
	_ gat.Files     = (*login)(nil)
	_ gat.Inward    = (*login)(nil)
)
