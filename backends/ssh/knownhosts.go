package ssh

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

// maxKnownHosts bounds a known_hosts file in bytes.
const maxKnownHosts = 16 << 20

// hostKeyOrder is the order host keys are asked for in, as ssh(1) does, so that
// it shows the same fingerprint for a host unknown to both.
var hostKeyOrder = [...]string{
	gossh.KeyAlgoED25519, gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521,
	gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256,
}

// unknownHost is the error of a host of which nothing is known.
type unknownHost struct {
	text string
	bad  bool // it shows a certificate that is not valid
}

func (u *unknownHost) Error() string { return u.text }

// knownHosts is what the known_hosts files of a server said when they were read.
type knownHosts struct {
	file     string // the one that takes new keys; empty means none does
	home     string // holds .ssh
	standard bool   // ssh and ssh-keygen look there by themselves
	callback gossh.HostKeyCallback
	lines    map[string][][]byte // by file
}

// readKnownHosts reads the user's files and the machine's for a server. Missing files
// know nobody. A line that cannot be understood is skipped as ssh(1) does.
func readKnownHosts(home string, config sshconfig.Host) (*knownHosts, error) {
	k := &knownHosts{home: home, lines: map[string][][]byte{}}
	for _, name := range config.UserKnownHostsFiles {
		if name != os.DevNull {
			k.file = name
			break
		}
	}
	if h, err := os.UserHomeDir(); err == nil {
		k.standard = filepath.Clean(h) == filepath.Clean(home)
	}
	// The library reads files only and refuses a whole file for one line, so
	// it is given copies without the lines it would stumble over. Line numbers stay.
	dir, err := os.MkdirTemp("", "zorilla-known-hosts-")
	if err != nil {
		return nil, fmt.Errorf("read the known host keys: %w", err)
	}
	defer os.RemoveAll(dir)
	var copies []string
	names := map[string]string{}
	for i, name := range slices.Concat(config.UserKnownHostsFiles, config.GlobalKnownHostsFiles) {
		if names[name] != "" || name == os.DevNull {
			continue
		}
		data, err := readFile(name, maxKnownHosts)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, problem(gat.Denied, "the file must be readable, for it says which hosts to trust", fmt.Errorf("read the known host keys: %w", err))
		}
		lines := bytes.Split(data, []byte("\n"))
		k.lines[name] = lines
		kept := make([][]byte, len(lines))
		for i, line := range lines {
			if understood(line) {
				kept[i] = line
			}
		}
		tmp := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(tmp, bytes.Join(kept, []byte("\n")), 0o600); err != nil {
			return nil, fmt.Errorf("read the known host keys: %w", err)
		}
		copies = append(copies, tmp)
		names[tmp], names[name] = name, name
	}
	callback, err := knownhosts.New(copies...)
	if err != nil {
		return nil, problem(gat.Denied, "mend the line or remove it", fmt.Errorf("read the known host keys: %w", err))
	}
	k.callback = func(host string, remote net.Addr, key gossh.PublicKey) error {
		err := callback(host, remote, key)
		if ke, ok := errors.AsType[*knownhosts.KeyError](err); ok {
			for i := range ke.Want {
				ke.Want[i].Filename = names[ke.Want[i].Filename]
			}
		}
		if re, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
			re.Revoked.Filename = names[re.Revoked.Filename]
		}
		return err
	}
	return k, nil
}

// understood reports whether the library can read the line.
func understood(line []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' {
		return false
	}
	marker, hosts, _, _, rest, err := gossh.ParseKnownHosts(line)
	if err != nil || len(rest) > 0 || (marker != "" && marker != "cert-authority" && marker != "revoked") {
		return false
	}
	for _, h := range hosts {
		switch {
		case h == "" || h == "!":
			return false
		case strings.HasPrefix(h, "|"):
			if len(hosts) != 1 || strings.Count(h, "|") != 3 || !strings.HasPrefix(h, "|1|") {
				return false
			}
		}
	}
	return true
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, err
}

// want lists the keys known for h.
func (k *knownHosts) want(h *hop) []knownhosts.KnownKey {
	for _, name := range h.names() {
		if list := k.wantAs(name); len(list) > 0 {
			return list
		}
	}
	return nil
}

// wantAs lists the keys, and authorities, that are known by a name.
func (k *knownHosts) wantAs(name string) []knownhosts.KnownKey {
	// A key nobody has makes the library say which it would take.
	probe, err := gossh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	ke, _ := errors.AsType[*knownhosts.KeyError](k.callback(name, named(name), probe))
	if ke == nil {
		return nil
	}
	return ke.Want
}

// look looks up a key or certificate of h.
func (k *knownHosts) look(h *hop, key gossh.PublicKey) error {
	var first error
	for i, name := range h.names() {
		err := k.lookAs(name, key)
		ke, ok := errors.AsType[*knownhosts.KeyError](err)
		if _, cert := key.(*gossh.Certificate); cert && noAuthority(err) {
			ke, ok = nil, true
		}
		switch {
		case err == nil:
			return nil
		case !ok: // something is known by this name
			return err
		case i == 0:
			first = err
			if ke != nil && len(ke.Want) > 0 {
				return err
			}
		}
	}
	return first
}

// lookAs looks up a key or certificate by a name. The address behind it is never
// looked at.
func (k *knownHosts) lookAs(name string, key gossh.PublicKey) error {
	err := k.callback(name, named(name), key)
	if _, cert := key.(*gossh.Certificate); err != nil || cert {
		return err
	}
	// To the library an authority's own key is good for every host of its.
	list := k.wantAs(name)
	if slices.ContainsFunc(list, func(w knownhosts.KnownKey) bool {
		return !k.authority(w) && bytes.Equal(w.Key.Marshal(), key.Marshal())
	}) {
		return nil
	}
	return &knownhosts.KeyError{Want: list}
}

// algorithms lists the host key algorithms to ask h for: those of the keys
// known for it first, so that a server with several keys shows that one.
func (k *knownHosts) algorithms(h *hop) []string {
	var first []string
	for _, w := range k.want(h) {
		if k.authority(w) {
			first = append(first, hostCertOrder[:]...)
			continue
		}
		switch t := w.Key.Type(); t {
		case gossh.KeyAlgoRSA:
			first = append(first, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256)
		default:
			if slices.Contains(hostKeyOrder[:], t) {
				first = append(first, t)
			}
		}
	}
	var order []string
	for _, a := range append(first, hostKeyOrder[:]...) {
		if !slices.Contains(order, a) {
			order = append(order, a)
		}
	}
	return order
}

// authority reports whether the line of w names a certificate authority.
func (k *knownHosts) authority(w knownhosts.KnownKey) bool {
	lines := k.lines[w.Filename]
	return w.Line >= 1 && w.Line <= len(lines) &&
		bytes.HasPrefix(bytes.TrimSpace(lines[w.Line-1]), []byte("@cert-authority"))
}

// check says whether key is h's. The error of one that is not known at all is an
// [unknownHost].
func (k *knownHosts) check(h *hop, key gossh.PublicKey) error {
	err := k.look(h, key)
	if err == nil {
		return nil
	}
	if cert, ok := key.(*gossh.Certificate); ok {
		return k.checkCertificate(h, cert, err)
	}
	print := gossh.FingerprintSHA256(key)
	if re, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return k.revoked(h, "host key", key, re)
	}
	ke, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok {
		return problem(gat.Denied, "", fmt.Errorf("the host key of %s: %w", h.addr(), err))
	}
	var have, files []string
	authority := false
	for _, w := range ke.Want {
		if k.authority(w) {
			authority = true
			continue
		}
		have = append(have, fmt.Sprintf("%s %s at %s:%d", w.Key.Type(), gossh.FingerprintSHA256(w.Key), w.Filename, w.Line))
		if !slices.Contains(files, w.Filename) {
			files = append(files, w.Filename)
		}
	}
	if len(have) == 0 {
		why := ""
		if authority {
			why = ", and no certificate by the authority that is known for it"
		}
		return problem(gat.Denied,
			fmt.Sprintf("log in once with `%s` and say yes only if it shows the fingerprint the host's administrator gives, now %s", k.ssh(h), print),
			&unknownHost{text: fmt.Sprintf("the host key of %s is unknown: the host shows %s %s%s", h.addr(), key.Type(), print, why)})
	}
	var cures []string
	for _, f := range files {
		cures = append(cures, "`"+k.keygen(h, f)+"`")
	}
	return problem(gat.Denied,
		fmt.Sprintf("somebody may be listening in; if the host's administrator confirms the new key, run %s, then log in once with `%s`",
			strings.Join(cures, " and "), k.ssh(h)),
		fmt.Errorf("the host key of %s has changed: the host shows %s %s, known is %s", h.addr(), key.Type(), print, strings.Join(have, ", ")))
}

// noCommonKey says that the server has no key of a kind we take.
func (k *knownHosts) noCommonKey(h *hop, neg *gossh.AlgorithmNegotiationError) error {
	hint := allowing(h.written.host, neg)
	want := k.want(h)
	for _, w := range want {
		if slices.Contains(neg.RequestedAlgorithms, w.Key.Type()) { // the right key, by a signature we do not take
			return problem(gat.Permanent, hint, fmt.Errorf("the server signs with its host keys by %s only", strings.Join(neg.RequestedAlgorithms, ", ")))
		}
	}
	if len(want) > 0 {
		hint = fmt.Sprintf("known is a %s key at %s:%d; if the host's administrator confirms a new key, run `%s`, then log in once with `%s`",
			want[0].Key.Type(), want[0].Filename, want[0].Line, k.keygen(h, want[0].Filename), k.ssh(h))
	}
	return problem(gat.Denied, hint, fmt.Errorf("the server has host keys of the kinds %s only", strings.Join(neg.RequestedAlgorithms, ", ")))
}

// ssh renders the command that logs in to h by hand.
func (k *knownHosts) ssh(h *hop) string {
	command := "ssh "
	if !k.standard && k.file != "" {
		command += "-o UserKnownHostsFile=" + word(k.file) + " "
		if h.written.host != h.host {
			command += "-F " + word(filepath.Join(k.home, ".ssh", "config")) + " "
		}
	}
	if len(h.jumps) > 0 {
		var names []string
		for _, e := range h.jumps {
			names = append(names, e.String())
		}
		command += "-J " + strings.Join(names, ",") + " "
	}
	return command + h.written.shellHost()
}

// keygen renders the command that removes h's keys from a file.
func (k *knownHosts) keygen(h *hop, file string) string {
	name := knownhosts.Normalize(h.name())
	if strings.ContainsAny(name, "[]") {
		name = quote(name)
	}
	if h, err := os.UserHomeDir(); k.standard && err == nil && file == filepath.Join(h, ".ssh", "known_hosts") || file == "" {
		return "ssh-keygen -R " + name
	}
	return "ssh-keygen -f " + word(file) + " -R " + name
}

// word quotes s for a shell only if it needs it.
func word(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@", r))
	}) < 0 && s != "" {
		return s
	}
	return quote(s)
}

// named is the name a host is known by, as a network address.
type named string

func (named) Network() string  { return "tcp" }
func (a named) String() string { return string(a) }
