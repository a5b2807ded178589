package openssh

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// A sign is a text by which ssh tells why it ended.
type sign struct {
	says  string // in lower case; one of several with | between
	class gat.Class
	text  string // in place of ssh's own words; may be empty
	hint  string
}

// signs are looked for in this order, so that the cause comes before what it leads to.
var signs = [...]sign{
	{"revoked host key detected|is revoked by|is marked as revoked", gat.Denied, "the host key is revoked", "somebody may be listening in: ask the host's administrator"},
	{"remote host identification has changed", gat.Denied, "the host key has changed", "somebody may be listening in; if the host's administrator confirms the new key, run CURE, then log in once with `COMMAND`"},
	{"host key verification failed", gat.Denied, "the host key is unknown", "log in once with `COMMAND` and say yes only if it shows the fingerprint the host's administrator gives"},
	{"bad configuration option|bad owner or permissions on|unsupported option|terminating, ", gat.Invalid, "", "mend ~/.ssh/config"},
	{"too many authentication failures", gat.Denied, "", "the server takes fewer keys than were offered: say IdentitiesOnly yes and IdentityFile in ~/.ssh/config"},
	{"permission denied (", gat.Denied, "", ""},
	{"no more authentication methods|permission denied, please try again", gat.Denied, "", ""},
	{"could not resolve hostname", gat.NotFound, "", "check the spelling of the host's name, or ~/.ssh/config"},
	{"administratively prohibited", gat.Denied, "", "the host in between allows logins but not forwarding: its sshd_config says AllowTcpForwarding no or PermitOpen"},
	{"connection refused", gat.Transient, "", "is it the right port, and does an SSH server run there?"},
	{"no route to host|network is unreachable", gat.Transient, "", "is this machine on the right network or VPN?"},
	{"not responding|connection timed out|operation timed out|timed out", gat.Transient, "", "is the host up, and does a firewall drop the port?"},
	{"unable to negotiate", gat.Permanent, "", "the server is too old or too restricted: ssh_config(5) has options for such servers"},
	{"invalid characters|bad remote protocol|invalid format|bad packet length|protocol major versions differ|packet corrupt|no ssh identification|invalid ssh", gat.Permanent, "what answers is no SSH server", "is it the right port?"},
	{"stdio forwarding failed|stdio forwarding request failed", gat.Transient, "", "the host in between does not reach it"},
	{"connection closed by unknown|connection reset by unknown|proxy", gat.Transient, "the command that connects (ProxyCommand or ProxyJump) failed", "try `COMMAND`"},
	{"connection closed by|connection reset by|broken pipe|closed by remote host", gat.Transient, "", "the server may limit connections (MaxStartups) or refuse this address"},
}

// chatter is what ssh says when nothing is wrong.
var chatter = regexp.MustCompile(`(?m)^(Transferred: |Bytes per second: |Authenticated to ).*\n?`)

var removeKey = regexp.MustCompile(`ssh-keygen -f .*`)

// explain makes an error of what ssh said before it ended. Whether somebody could
// be asked is part of the cure.
func explain(said string, to address, asked bool) error {
	said = chatter.ReplaceAllString(said, "")
	lower := strings.ToLower(said)
	for _, s := range signs {
		for says := range strings.SplitSeq(s.says, "|") {
			if !strings.Contains(lower, says) {
				continue
			}
			line := lineWith(said, says)
			text, hint := line, s.hint
			if s.text != "" {
				text = s.text + ": " + lineOf(said, line)
			}
			switch says {
			case "could not resolve hostname":
				if strings.Contains(lower, "temporary failure") {
					return problem(gat.Transient, "the name server did not answer", errors.New(text))
				}
			case "permission denied (", "no more authentication methods", "permission denied, please try again":
				hint = "does `" + to.command() + "` log in, and as the right user?"
				if !asked && (strings.Contains(lower, "keyboard-interactive") || strings.Contains(lower, "password")) {
					hint = "somebody must be there to answer ssh's questions, or open a connection before with ControlMaster; " + hint
				}
			case "remote host identification has changed":
				cure := removeKey.FindString(said)
				if cure == "" {
					cure = "ssh-keygen -R " + to.alias
				}
				hint = strings.Replace(hint, "CURE", "`"+strings.TrimSpace(printable(cure))+"`", 1)
			}
			return problem(s.class, strings.Replace(hint, "COMMAND", to.command(), 1), errors.New(text))
		}
	}
	if line := lastLine(said); line != "" {
		return problem(gat.Transient, "try `"+to.command()+"`", fmt.Errorf("ssh ended: %s", line))
	}
	return problem(gat.Transient, "try `"+to.command()+"`", errors.New("ssh ended without a word"))
}

// lineWith is the last line that has a text in lower case.
func lineWith(said, text string) string {
	found := ""
	for line := range strings.Lines(said) {
		if strings.Contains(strings.ToLower(line), text) {
			found = line
		}
	}
	return printable(strings.TrimSpace(found))
}

// lineOf prefers a line that names a key's fingerprint, or tells what a command said.
func lineOf(said, line string) string {
	for l := range strings.Lines(said) {
		if l = strings.TrimSpace(l); strings.HasPrefix(l, "SHA256:") {
			return "the host shows " + printable(strings.TrimSuffix(l, "."))
		}
	}
	if !strings.Contains(strings.ToLower(line), "unknown port") {
		return line
	}
	var before string
	for l := range strings.Lines(said) {
		l = printable(strings.TrimSpace(l))
		if strings.Contains(strings.ToLower(l), "unknown port") || strings.HasPrefix(l, "kex_exchange_identification") {
			break
		}
		if l != "" {
			before = l
		}
	}
	if before == "" {
		return line
	}
	return before
}
