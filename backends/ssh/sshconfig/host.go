package sshconfig

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Host is how ssh would reach one host. Paths are absolute.
type Host struct {
	Alias  string // the name that was asked for
	Source string // what was asked or read, for messages: "ssh -G node1", "no configuration"

	HostName string // where to connect to, in lower case
	User     string
	Port     string

	IdentityFiles    []string // private keys, in order
	UsualIdentities  bool     // IdentityFiles are those ssh looks for when none is configured
	IdentitiesOnly   bool     // of the agent's keys, only those that are in IdentityFiles
	CertificateFiles []string
	IdentityAgent    string // path of a socket, "none", or "" for $SSH_AUTH_SOCK

	ProxyJump    []string // "[user@]host[:port]" each, the first hop first; nil means none
	ProxyCommand string   // for the user's shell, expanded; "" means none

	HostKeyAlias          string // the name the host's keys are kept under; "" means HostName and Port
	UserKnownHostsFiles   []string
	GlobalKnownHostsFiles []string
	StrictHostKeyChecking Strictness
	HashKnownHosts        bool

	ConnectTimeout time.Duration // 0 means none
	AddressFamily  string        // "any", "inet" or "inet6"

	values values
}

// Strictness says what to do with the key of a host that is not known, as
// StrictHostKeyChecking does.
type Strictness int

// The values of StrictHostKeyChecking.
const (
	Ask       Strictness = iota // ask the user
	Yes                         // refuse
	AcceptNew                   // take it and remember it
	No                          // take even a changed one
)

func (s Strictness) String() string {
	return [...]string{"ask", "yes", "accept-new", "no"}[s]
}

// Value returns the first value of any keyword of ssh_config(5) as ssh prints it,
// unexpanded, or "". Keywords are in lower case.
func (h Host) Value(keyword string) string {
	if v := h.values[keyword]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// An Error says why a configuration could not be resolved.
type Error struct {
	Hint string // what the user can do; may be empty
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// values are lines of a configuration by keyword in lower case.
type values map[string][]string

// all returns the values of a keyword that may be given often.
func (v values) all(keyword string) []string {
	if all := v[keyword]; !slices.Contains(all, "none") {
		return all
	}
	return nil
}

// one returns the value of a keyword; "none" is none.
func (v values) one(keyword string) string {
	if all := v.all(keyword); len(all) > 0 {
		return all[0]
	}
	return ""
}

// host makes a Host of the values that apply to it.
func (v values) host(q query) (Host, error) {
	h := Host{Alias: q.host, values: v, User: v.one("user"), Port: v.one("port"), AddressFamily: v.one("addressfamily")}
	h.HostName = strings.ToLower(v.one("hostname"))
	if h.HostName == "" {
		h.HostName = strings.ToLower(q.host)
	}
	if h.User == "" {
		h.User = LocalUser()
	}
	if h.Port == "" {
		h.Port = "22"
	}
	if n, err := strconv.ParseUint(h.Port, 10, 16); err != nil || n == 0 {
		return h, fmt.Errorf("the port %q is not a number from 1 to 65535", h.Port)
	}
	if h.AddressFamily == "" {
		h.AddressFamily = "any"
	}
	h.HostKeyAlias = v.one("hostkeyalias")
	if jump := v.one("proxyjump"); jump != "" {
		for hop := range strings.SplitSeq(jump, ",") {
			h.ProxyJump = append(h.ProxyJump, strings.TrimPrefix(strings.TrimSpace(hop), "ssh://"))
		}
	}
	h.IdentitiesOnly = yes(v.one("identitiesonly"))
	h.HashKnownHosts = yes(v.one("hashknownhosts"))
	switch s := strings.ToLower(v.one("stricthostkeychecking")); s {
	case "", "ask":
		h.StrictHostKeyChecking = Ask
	case "yes", "true":
		h.StrictHostKeyChecking = Yes
	case "accept-new":
		h.StrictHostKeyChecking = AcceptNew
	case "no", "off", "false":
		h.StrictHostKeyChecking = No
	default:
		return h, fmt.Errorf("StrictHostKeyChecking %q is none of yes, no, ask, accept-new", s)
	}
	if s := v.one("connecttimeout"); s != "" {
		d, err := seconds(s)
		if err != nil {
			return h, fmt.Errorf("ConnectTimeout %q: %w", s, err)
		}
		h.ConnectTimeout = d
	}
	return h, v.expand(&h, q)
}

// expand fills in what has tokens in it.
func (v values) expand(h *Host, q query) error {
	t := newTokens(h, q.home, v.one("proxyjump"))
	var err error
	files := func(keyword string, many []string) []string {
		var list []string
		for _, s := range many {
			p, e := t.path(s)
			if e != nil && err == nil {
				err = fmt.Errorf("%s %q: %w", keyword, s, e)
			}
			list = append(list, p)
		}
		return list
	}
	identities := v.all("identityfile")
	if len(v["identityfile"]) == 0 {
		identities = usual[:]
	}
	h.UsualIdentities = len(identities) > 0 && !slices.ContainsFunc(identities, func(s string) bool {
		return !slices.Contains(usual[:], s) && s != "~/.ssh/id_dsa" && s != "~/.ssh/id_xmss"
	})
	h.IdentityFiles = files("IdentityFile", identities)
	h.CertificateFiles = files("CertificateFile", v.all("certificatefile"))
	h.UserKnownHostsFiles = files("UserKnownHostsFile", splitPaths(v.all("userknownhostsfile")))
	h.GlobalKnownHostsFiles = files("GlobalKnownHostsFile", splitPaths(v.all("globalknownhostsfile")))
	switch a := v.one("identityagent"); {
	case slices.Contains(v["identityagent"], "none"):
		h.IdentityAgent = "none"
	case a == "" || a == "SSH_AUTH_SOCK":
	default:
		h.IdentityAgent = files("IdentityAgent", []string{a})[0]
	}
	if err != nil {
		return err
	}
	if c := v.one("proxycommand"); c != "" {
		if h.ProxyCommand, err = t.command(c); err != nil {
			return fmt.Errorf("ProxyCommand %q: %w", c, err)
		}
	}
	return nil
}

// usual lists the keys ssh looks for when none is configured.
var usual = [...]string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"}

func yes(s string) bool { s = strings.ToLower(s); return s == "yes" || s == "true" }

// seconds reads a time of ssh_config(5), TIME FORMATS in sshd_config(5): "10", "1m30s".
func seconds(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	var sum, n time.Duration
	digits := false
	for _, r := range strings.ToLower(s) {
		if r >= '0' && r <= '9' && n < 1<<24 {
			n, digits = n*10+time.Duration(r-'0'), true
			continue
		}
		unit, ok := map[rune]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[r]
		if !ok || !digits || n > 1<<16 {
			return 0, errors.New("not a time such as 10 or 1m30s")
		}
		sum, n, digits = sum+n*unit, 0, false
	}
	if digits {
		return 0, errors.New("not a time such as 10 or 1m30s")
	}
	return sum, nil
}

// splitPaths takes apart values that hold several paths. ssh prints them without the
// quotes they had, so that a word that does not begin as a path does belongs to
// the path before it.
func splitPaths(lines []string) []string {
	var paths []string
	for _, line := range lines {
		for i, word := range strings.Split(line, " ") {
			if i > 0 && len(paths) > 0 && !startsPath(word) {
				paths[len(paths)-1] += " " + word
			} else if word != "" {
				paths = append(paths, word)
			}
		}
	}
	for i, p := range paths {
		paths[i] = strings.TrimRight(p, " ")
	}
	return paths
}

func startsPath(word string) bool {
	return filepath.IsAbs(word) || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "~") || strings.HasPrefix(word, "%") || strings.HasPrefix(word, "${") ||
		strings.HasPrefix(word, "__PROGRAMDATA__")
}
