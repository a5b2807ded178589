package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

// A hop is an SSH server with what the user's configuration says of it. Its
// endpoint is complete: the host is the name or address to connect to.
type hop struct {
	endpoint
	written endpoint       // as the URL or the configuration names it
	jumps   []endpoint     // that the URL names before it, for hints
	config  sshconfig.Host // of this server alone
	ring    *keyring       // the keys for it
	timeout time.Duration  // of each step of making the connection
	proxied bool           // the connection is made by its ProxyCommand
	network string         // "tcp", "tcp4" or "tcp6"
}

// name is the address that the server's keys are known under. An alias stands for
// itself, whatever the port.
func (h *hop) name() string {
	if alias := h.config.HostKeyAlias; alias != "" {
		return net.JoinHostPort(strings.ToLower(alias), "22")
	}
	return h.addr()
}

// names are the addresses that the server's keys may be known under. As ssh(1) does,
// a server at an unusual port is trusted by the key of the host, but not refused by it.
func (h *hop) names() []string {
	if h.config.HostKeyAlias != "" || h.port == "22" {
		return []string{h.name()}
	}
	return []string{h.name(), net.JoinHostPort(h.host, "22")}
}

// resolve looks up what the user's configuration says of a server.
func (c *connector) resolve(ctx context.Context, e endpoint) (*hop, error) {
	config, err := c.backend.Config.Resolve(ctx, c.home, e.host, e.user, e.port)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		hint := ""
		if told, ok := errors.AsType[*sshconfig.Error](err); ok {
			hint = told.Hint
		}
		return nil, problem(gat.Permanent, hint, err)
	}
	h := &hop{written: e, config: config, timeout: c.backend.Timeout, network: "tcp"}
	// What is configured must be fit for hints and messages as much as what is typed.
	if h.endpoint, err = makeEndpoint(config.User, config.HostName, config.Port); err != nil {
		return nil, problem(gat.Permanent, "mend ~/.ssh/config", fmt.Errorf("the ssh configuration of %s: %w", e.host, err))
	}
	if config.Value("proxyusefdpass") == "yes" {
		return nil, problem(gat.Permanent, "use openssh:// for this host", fmt.Errorf("the ssh configuration of %s: ProxyUseFdpass is not possible here", e.host))
	}
	if config.ConnectTimeout > 0 {
		h.timeout = config.ConnectTimeout
	}
	switch config.AddressFamily {
	case "inet":
		h.network = "tcp4"
	case "inet6":
		h.network = "tcp6"
	}
	h.ring = c.keyring(h)
	return h, nil
}

// route returns the servers on the way to a host, the host itself last. Jump hosts
// that the URL names take the place of those that are configured. The first of them
// is reached as its own configuration says and each other through the one before it,
// as `ssh -J` does.
func (c *connector) route(ctx context.Context, a address) ([]*hop, error) {
	end, err := c.resolve(ctx, a.endpoint)
	if err != nil {
		return nil, err
	}
	end.jumps = a.jumps
	hops, err := c.expand(ctx, end, a.jumps, nil)
	if err != nil {
		return nil, err
	}
	for _, h := range hops[:len(hops)-1] {
		h.ring.jump = true
	}
	return hops, nil
}

// expand returns the way to a host through jumps or, when there are none, as it is
// configured. Within lists the hosts whose ways are being looked for.
func (c *connector) expand(ctx context.Context, end *hop, jumps []endpoint, within []*hop) ([]*hop, error) {
	if i := slices.IndexFunc(within, func(h *hop) bool { return h.endpoint == end.endpoint }); i >= 0 {
		return nil, problem(gat.Permanent, "mend ProxyJump in ~/.ssh/config, for instance by `Host * !"+end.written.host+"`",
			fmt.Errorf("the ssh configuration leads from %s to itself through ProxyJump", end))
	}
	within = append(within, end)
	if len(jumps) == 0 {
		if end.config.ProxyCommand != "" {
			end.proxied = true
			return []*hop{end}, nil
		}
		for _, text := range end.config.ProxyJump {
			e, err := parseEndpoint(text)
			if err != nil {
				return nil, problem(gat.Permanent, "mend ~/.ssh/config", fmt.Errorf("the ProxyJump of %s, %q: %w", end.written.host, text, err))
			}
			jumps = append(jumps, e)
		}
	}
	var hops []*hop
	for i, e := range jumps {
		h, err := c.resolve(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("the jump host %s: %w", e, err)
		}
		if i == 0 {
			if hops, err = c.expand(ctx, h, nil, within); err != nil {
				return nil, err
			}
			continue
		}
		h.jumps = jumps[:i]
		hops = append(hops, h)
	}
	if len(hops) > maxJumps {
		return nil, problem(gat.Permanent, "", fmt.Errorf("%d jump hosts on the way to %s are more than %d", len(hops), end, maxJumps))
	}
	return append(hops, end), nil
}
