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

	"github.com/zorilla-grid/zorilla/gat"
)

// systemKnownHosts is the machine's own list.
const systemKnownHosts = "/etc/ssh/ssh_known_hosts"

// maxKnownHosts bounds a known_hosts file in bytes.
const maxKnownHosts = 16 << 20

// hostKeyOrder is the order host keys are asked for in, as ssh(1) does, so that
// it shows the same fingerprint for a host unknown to both.
var hostKeyOrder = [...]string{
	gossh.KeyAlgoED25519, gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521,
	gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256,
}

var hostCertOrder = [...]string{
	gossh.CertAlgoED25519v01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01,
	gossh.CertAlgoRSASHA512v01, gossh.CertAlgoRSASHA256v01,
}

// knownHosts is what the known_hosts files said when they were read. It only
// ever answers; nothing is added to the files.
type knownHosts struct {
	user     string // the user's file, for hints
	standard bool   // user is where ssh-keygen looks by itself
	callback gossh.HostKeyCallback
	lines    map[string][][]byte // by file
}

// readKnownHosts reads the user's file in home and the machine's. Missing files
// know nobody. A line that cannot be understood is skipped as ssh(1) does.
func readKnownHosts(home string) (*knownHosts, error) {
	k := &knownHosts{user: filepath.Join(home, ".ssh", "known_hosts"), lines: map[string][][]byte{}}
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
	for i, name := range []string{k.user, systemKnownHosts} {
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
		names[tmp] = name
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

// want lists the keys known for e.
func (k *knownHosts) want(e endpoint) []knownhosts.KnownKey {
	// A key nobody has makes the library say which it would take.
	probe, err := gossh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	ke, _ := errors.AsType[*knownhosts.KeyError](k.callback(e.addr(), tcpAddr{e}, probe))
	if ke == nil {
		return nil
	}
	return ke.Want
}

// algorithms lists the host key algorithms to ask e for: those of the keys
// known for it first, so that a server with several keys shows that one.
func (k *knownHosts) algorithms(e endpoint) []string {
	var first []string
	for _, w := range k.want(e) {
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

// check says whether key is e's.
func (k *knownHosts) check(e endpoint, key gossh.PublicKey) error {
	err := k.callback(e.addr(), tcpAddr{e}, key)
	if err == nil {
		return nil
	}
	print := gossh.FingerprintSHA256(key)
	if re, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return problem(gat.Denied, "ask the host's administrator for its new key",
			fmt.Errorf("the host key of %s (%s %s) is revoked at %s:%d", e.addr(), key.Type(), print, re.Revoked.Filename, re.Revoked.Line))
	}
	ke, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok {
		return problem(gat.Denied, "", fmt.Errorf("the host key of %s: %w", e.addr(), err))
	}
	var have []string
	var files []string
	for _, w := range ke.Want {
		have = append(have, fmt.Sprintf("%s %s at %s:%d", w.Key.Type(), gossh.FingerprintSHA256(w.Key), w.Filename, w.Line))
		if !slices.Contains(files, w.Filename) {
			files = append(files, w.Filename)
		}
	}
	if len(have) == 0 {
		return problem(gat.Denied,
			fmt.Sprintf("log in once with `%s` and say yes only if it shows the fingerprint the host's administrator gives, now %s",
				k.ssh(e), print),
			fmt.Errorf("the host key of %s is unknown: the host shows %s %s", e.addr(), key.Type(), print))
	}
	var cures []string
	for _, f := range files {
		cures = append(cures, "`"+k.keygen(e, f)+"`")
	}
	return problem(gat.Denied,
		fmt.Sprintf("somebody may be listening in; if the host's administrator confirms the new key, run %s, then log in once with `%s`",
			strings.Join(cures, " and "), k.ssh(e)),
		fmt.Errorf("the host key of %s has changed: the host shows %s %s, known is %s", e.addr(), key.Type(), print, strings.Join(have, ", ")))
}

// noCommonKey says that the server has no key of a kind we take.
func (k *knownHosts) noCommonKey(e endpoint, neg *gossh.AlgorithmNegotiationError) error {
	hint := "the server is too old or too restricted"
	if want := k.want(e); len(want) > 0 {
		hint = fmt.Sprintf("known is a %s key at %s:%d; if the host's administrator confirms a new key, run `%s`, then log in once with `%s`",
			want[0].Key.Type(), want[0].Filename, want[0].Line, k.keygen(e, want[0].Filename), k.ssh(e))
	}
	return problem(gat.Denied, hint, fmt.Errorf("the server has host keys of the kinds %s only", strings.Join(neg.RequestedAlgorithms, ", ")))
}

// ssh renders the command that logs in to e by hand.
func (k *knownHosts) ssh(e endpoint) string {
	if k.standard {
		return "ssh " + e.shellHost()
	}
	return "ssh -o UserKnownHostsFile=" + word(k.user) + " " + e.shellHost()
}

// keygen renders the command that removes e's keys from a file.
func (k *knownHosts) keygen(e endpoint, file string) string {
	name := knownhosts.Normalize(e.addr())
	if strings.ContainsAny(name, "[]") {
		name = quote(name)
	}
	if k.standard && file == k.user {
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

// tcpAddr is e as a network address. Hosts are known by the name in the URL,
// so the address behind it is never looked at.
type tcpAddr struct{ e endpoint }

func (a tcpAddr) Network() string { return "tcp" }
func (a tcpAddr) String() string  { return a.e.addr() }
