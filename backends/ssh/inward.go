package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

// Inner logs in to a host that only this login's host can reach, with the same
// user unless host names another, the same keys and the same known hosts: the inner host is
// looked up under its own name. A passphrase that was given is not asked for
// again. A login made with a nil dial ends with this one.
func (l *login) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	e, err := parseEndpoint(host)
	if err != nil {
		return nil, l.Fault("log in", problem(gat.Invalid, "", fmt.Errorf("inner host %q: %w", host, err)))
	}
	if e.user == "" {
		e.user = l.link.end.user
	}
	if dial == nil {
		dial = l.link.dial
	}
	k, err := l.c.connect(ctx, e, dial)
	if err != nil {
		select {
		case <-l.Done():
			err = l.Gone()
		default:
		}
		return nil, l.Fault("log in", fmt.Errorf("%s (through %s): %w", e, l.link.end, err))
	}
	return newLogin(l.c, "ssh://"+e.String(), []*link{k}), nil
}

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
	_ gat.Forwarder = (*login)(nil)
	_ gat.Login     = (*login)(nil)
	_ gat.Runner    = (*login)(nil)
	_ gat.Files     = (*login)(nil)
	_ gat.Inward    = (*login)(nil)
)
