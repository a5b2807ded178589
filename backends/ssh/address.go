package ssh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// maxJumps bounds the chain of jump hosts in a URL.
const maxJumps = 8

// An endpoint is one SSH server and the user to be there. As it is written the user
// and the port may be missing, and the host may be a name that only the user's
// configuration knows; see [hop].
type endpoint struct {
	user string // empty means as configured, else the local user's name
	host string // name or address, without brackets
	port string // empty means as configured, else 22
}

func (e endpoint) addr() string { return net.JoinHostPort(e.host, e.port) }

func (e endpoint) String() string {
	host := e.host
	if e.port != "22" && e.port != "" {
		host = e.addr()
	}
	if e.user == "" {
		return host
	}
	return e.user + "@" + host
}

// An address is what a URL says.
type address struct {
	endpoint
	jumps    []endpoint
	identity string // path of a key; empty means as configured
}

// parseURL takes a URL apart. Its errors say what to write instead.
func parseURL(u *url.URL) (address, error) {
	const form = "write ssh://[user@]host[:port]"
	var a address
	if u == nil {
		return a, errors.New("there is no URL: " + form)
	}
	if u.Scheme != "ssh" {
		return a, fmt.Errorf("the scheme is %q, not ssh: %s", u.Scheme, form)
	}
	if u.Opaque != "" || u.Host == "" {
		return a, errors.New("the host is missing: " + form)
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return a, errors.New("a password has no place in a URL: use a key or the agent, and " + form)
		}
	}
	if u.Path != "" && u.Path != "/" {
		return a, fmt.Errorf("a path (%s) has no meaning here: %s", u.Path, form)
	}
	if u.Fragment != "" {
		return a, fmt.Errorf("a fragment (#%s) has no meaning here: %s", u.Fragment, form)
	}
	var err error
	name := ""
	if u.User != nil {
		if name = u.User.Username(); name == "" {
			return a, errors.New("the user before @ is empty: " + form)
		}
	}
	if a.endpoint, err = makeEndpoint(name, u.Hostname(), u.Port()); err != nil {
		return a, err
	}
	if strings.HasSuffix(u.Host, ":") {
		return a, errors.New("the port after : is missing: " + form)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return a, fmt.Errorf("the options after ? are malformed: %w: write ?jump=HOST&identity=/PATH", err)
	}
	for k, v := range q {
		if len(v) > 1 {
			return a, fmt.Errorf("the option %s is given twice: write it once", k)
		}
		switch k {
		case "jump":
			for h := range strings.SplitSeq(v[0], ",") {
				e, err := parseEndpoint(h)
				if err != nil {
					return a, fmt.Errorf("jump host %q: %w", h, err)
				}
				a.jumps = append(a.jumps, e)
			}
			if len(a.jumps) > maxJumps {
				return a, fmt.Errorf("%d jump hosts are more than %d", len(a.jumps), maxJumps)
			}
		case "identity":
			a.identity = v[0]
			if !path.IsAbs(a.identity) && !strings.HasPrefix(a.identity, "~/") {
				return a, fmt.Errorf("the identity %q is not an absolute path: write identity=/PATH or identity=~/PATH", v[0])
			}
		default:
			return a, fmt.Errorf("unknown option %q: the options are jump and identity", k)
		}
	}
	return a, nil
}

// parseEndpoint reads "[user@]host[:port]".
func parseEndpoint(s string) (endpoint, error) {
	name, rest, ok := cutLast(s, "@")
	if !ok {
		name, rest = "", s
	} else if name == "" {
		return endpoint{}, errors.New("the user before @ is empty: write [user@]host[:port]")
	}
	host, port := rest, ""
	switch {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return endpoint{}, errors.New("the bracket [ is not closed: write [address]:port")
		}
		host = rest[1:end]
		if tail := rest[end+1:]; tail != "" {
			if port = strings.TrimPrefix(tail, ":"); port == tail || port == "" {
				return endpoint{}, errors.New("after the bracket ] a port must follow: write [address]:port")
			}
		}
	case strings.Count(rest, ":") == 1:
		host, port, _ = strings.Cut(rest, ":")
		if port == "" {
			return endpoint{}, errors.New("the port after : is missing: write [user@]host[:port]")
		}
	}
	return makeEndpoint(name, host, port)
}

// makeEndpoint checks the parts: they appear in commands that errors tell users to type.
func makeEndpoint(name, host, port string) (endpoint, error) {
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return endpoint{}, fmt.Errorf("the port %q is not a number from 1 to 65535", port)
	}
	if strings.IndexFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`'"\$;&|<>()*?!`+"`", r)
	}) >= 0 || strings.HasPrefix(name, "-") {
		return endpoint{}, fmt.Errorf("the user %q has characters no user name has", name)
	}
	if host == "" {
		return endpoint{}, errors.New("the host is missing: write [user@]host[:port]")
	}
	ok := func(r rune) bool {
		return r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	if ip, err := netip.ParseAddr(host); err != nil || strings.IndexFunc(ip.Zone(), func(r rune) bool { return !ok(r) }) >= 0 {
		if strings.IndexFunc(host, func(r rune) bool { return !ok(r) }) >= 0 || strings.HasPrefix(host, "-") || len(host) > 253 {
			return endpoint{}, fmt.Errorf("the host %q is neither a name nor an address", host)
		}
	}
	return endpoint{user: name, host: host, port: port}, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// redact renders a URL for messages, with any password taken out and the
// options of no interest left in.
func redact(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Redacted()
}

// shellHost renders the arguments ssh(1) takes to reach e.
func (e endpoint) shellHost() string {
	var b []string
	if e.port != "22" && e.port != "" {
		b = append(b, "-p", e.port)
	}
	host := e.host
	if e.user != "" {
		host = e.user + "@" + host
	}
	return strings.Join(append(b, host), " ")
}
