package ssh

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

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
	// time a user takes to answer a question is not counted. Zero means 10 s.
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
	// means $SSH_AUTH_SOCK.
	Agent string
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
	known, err := readKnownHosts(home)
	if err != nil {
		return nil, err
	}
	keys := &keyring{site: t.Site, home: home, identity: a.identity, agentPath: b.Agent, ask: t.Ask, prompted: t.Prompted}
	c := &connector{backend: b, keys: keys, known: known}

	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var hops []*link
	for _, e := range append(a.jumps, a.endpoint) {
		if e.user == "" {
			e.user = localUser()
		}
		var k *link
		if k, err = c.connect(ctx, e, dial); err != nil {
			closeLinks(hops)
			if n := len(hops); n > 0 {
				err = fmt.Errorf("%s (through %s): %w", e, hops[n-1].end, err)
			}
			return nil, err
		}
		hops = append(hops, k)
		dial = k.dial
	}
	return newLogin(c, redact(t.URL), hops), nil
}

// localUser is the name of the user who runs this process.
func localUser() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if i := strings.LastIndexByte(name, '\\'); i >= 0 { // Windows: DOMAIN\name
		name = name[i+1:]
	}
	return name
}

var _ gat.Backend = Backend{}
