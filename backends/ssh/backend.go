package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

const (
	defaultTimeout   = 10 * time.Second
	defaultKeepAlive = 15 * time.Second
	defaultSessions  = 8
)

// Backend logs in to SSH servers. The zero value is ready to use and safe for
// concurrent use.
type Backend struct {
	// Timeout bounds each step of making a connection: to connect, and to
	// greet and exchange keys. Authentication gets three times as long; the
	// time a user takes to answer a question is not counted. Zero means 10 s. A
	// ConnectTimeout in the user's configuration takes its place.
	Timeout time.Duration

	// KeepAlive is how often a login asks the server for a sign of life. A
	// login is dead when three of these pass with not one byte from the
	// server after a question. Zero means 15 s.
	KeepAlive time.Duration

	// Sessions is how many commands and file transfers one login runs at once;
	// more wait. Long-lived commands count. Servers allow 10 by default.
	// Zero means 8.
	Sessions int

	// Agent is the path of the agent's socket; "none" means no agent. Empty
	// means as configured (IdentityAgent), else $SSH_AUTH_SOCK.
	Agent string

	// Config resolves the user's ssh configuration.
	Config sshconfig.Resolver

	// Shared is what logins share beyond one site, such as keys that the user has
	// unlocked. Nil means that each login has its own.
	Shared *Shared
}

// Schemes returns "ssh".
func (Backend) Schemes() []string { return []string{"ssh"} }

// Check reports what is wrong with u.
func (Backend) Check(u *url.URL) error {
	if _, err := parseURL(u); err != nil {
		return &gat.Error{Class: gat.Invalid, Op: "read", URL: redact(u), Err: err}
	}
	return nil
}

// Open logs in to t.URL, through its jump hosts if it names any. The login has
// the abilities [gat.Runner], [gat.Files] and [gat.Inward].
func (b Backend) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	if err := b.Check(t.URL); err != nil {
		return nil, err
	}
	a, _ := parseURL(t.URL)
	if b.Timeout <= 0 {
		b.Timeout = defaultTimeout
	}
	if b.KeepAlive <= 0 {
		b.KeepAlive = defaultKeepAlive
	}
	if b.Sessions <= 0 {
		b.Sessions = defaultSessions
	}
	l, err := b.open(ctx, t, a)
	if err != nil {
		return nil, classified("log in", redact(t.URL), err)
	}
	return l, nil
}

func (b Backend) open(ctx context.Context, t gat.Target, a address) (*login, error) {
	home := t.Home
	if home == "" {
		h, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find the home directory that holds .ssh: %w", err)
		}
		home = h
	}
	c := &connector{backend: b, home: home, identity: a.identity, target: t, shared: b.Shared}
	if c.shared == nil {
		c.shared = NewShared()
	}
	route, err := c.route(ctx, a)
	if err != nil {
		return nil, err
	}
	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var links []*link
	for _, h := range route {
		k, err := c.connect(ctx, h, dial)
		if err != nil {
			closeLinks(links)
			if n := len(links); n > 0 {
				err = through(h, links[n-1].end, err)
			}
			return nil, err
		}
		links = append(links, k)
		dial = k.dial
	}
	return newLogin(c, redact(t.URL), links), nil
}

// through is the error of a login to h by way of a host that did let us in.
func through(h *hop, last endpoint, err error) error {
	if errors.Is(err, gat.ErrForwarding) {
		return fmt.Errorf("%s: %s lets us in, but not through: %w", h, last, err)
	}
	return fmt.Errorf("%s (through %s): %w", h, last, err)
}

var _ gat.Backend = Backend{}
