package openssh

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// An address is what a URL says; ssh knows the rest.
type address struct {
	user  string // empty: as ssh has it
	alias string // what the user types after ssh
	port  string // empty: as ssh has it
}

func (a address) String() string {
	s := a.alias
	if strings.Contains(s, ":") && a.port != "" {
		s = "[" + s + "]"
	}
	if a.user != "" {
		s = a.user + "@" + s
	}
	if a.port != "" {
		s += ":" + a.port
	}
	return s
}

// args are the arguments that name the destination.
func (a address) args() []string {
	var args []string
	if a.user != "" {
		args = append(args, "-l", a.user)
	}
	if a.port != "" {
		args = append(args, "-p", a.port)
	}
	return append(args, a.alias)
}

// command renders the command that logs in by hand.
func (a address) command() string { return "ssh " + strings.Join(a.args(), " ") }

// parseURL takes a URL apart. Its errors say what to write instead.
func parseURL(u *url.URL) (address, error) {
	const form = "write openssh://[user@]alias[:port]"
	var a address
	switch {
	case u == nil:
		return a, errors.New("there is no URL: " + form)
	case u.Scheme != "openssh":
		return a, fmt.Errorf("the scheme is %q, not openssh: %s", u.Scheme, form)
	case u.Opaque != "" || u.Host == "":
		return a, errors.New("the host is missing: " + form)
	case u.Path != "" && u.Path != "/":
		return a, fmt.Errorf("a path (%s) has no meaning here: %s", u.Path, form)
	case u.RawQuery != "" || u.ForceQuery:
		return a, fmt.Errorf("options (?%s) have no meaning here: put them into ~/.ssh/config under Host %s", u.RawQuery, u.Hostname())
	case u.Fragment != "":
		return a, fmt.Errorf("a fragment (#%s) has no meaning here: %s", u.Fragment, form)
	case strings.HasSuffix(u.Host, ":"):
		return a, errors.New("the port after : is missing: " + form)
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return a, errors.New("a password has no place in a URL: ssh asks for it, and " + form)
		}
		if a.user = u.User.Username(); a.user == "" {
			return a, errors.New("the user before @ is empty: " + form)
		}
	}
	a.alias, a.port = u.Hostname(), u.Port()
	if n, err := strconv.ParseUint(a.port, 10, 16); a.port != "" && (err != nil || n == 0) {
		return a, fmt.Errorf("the port %q is not a number from 1 to 65535", a.port)
	}
	// Both are arguments of ssh, which hands them on to commands of the user's
	// configuration, and appear in commands that errors tell users to type.
	if strings.HasPrefix(a.user, "-") || strings.IndexFunc(a.user, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`'"\$;&|<>()*?!`+"`", r)
	}) >= 0 {
		return a, fmt.Errorf("the user %q has characters no user name has", a.user)
	}
	if _, err := netip.ParseAddr(a.alias); err == nil {
		return a, nil
	}
	if strings.HasPrefix(a.alias, "-") || len(a.alias) > 253 || strings.IndexFunc(a.alias, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) >= 0 {
		return a, fmt.Errorf("the host %q is neither a name nor an address", a.alias)
	}
	return a, nil
}
