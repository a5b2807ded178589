package testbed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// account is a user of every host. The group has the same number and name.
type account struct {
	name, home string
	uid        uint32
	login      bool
}

func accounts() []account {
	return []account{
		{name: "root", home: "/root"},
		{name: "alice", home: "/home/alice", uid: 20001, login: true},
		{name: "bob", home: "/home/bob", uid: 20002, login: true},
	}
}

func accountOf(user string) (account, bool) {
	all := accounts()
	i := slices.IndexFunc(all, func(a account) bool { return a.name == user })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}

// machine is what the hosts of a network have in common.
type machine struct {
	mountpoint     string // empty directory; each host mounts on it in its own namespace
	authorized     []byte // public key of the user, as in authorized_keys
	hosts          []byte // /etc/hosts
	passwd, shadow []byte
	group          []byte
	hostKeys       map[string][]byte // private, by host name
}

// makeFiles makes the keys and the client's files.
func (n *Net) makeFiles() (*machine, error) {
	m := &machine{mountpoint: filepath.Join(n.dir, "host"), hostKeys: make(map[string][]byte)}
	for _, dir := range []string{n.dir, m.mountpoint} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	key, public, err := newKey("alice@client")
	if err != nil {
		return nil, err
	}
	m.authorized = public
	var known bytes.Buffer
	hosts := bytes.NewBufferString("127.0.0.1 localhost\n")
	holders := make(map[netip.Addr]int) // private addresses may be many hosts'
	for _, h := range n.hosts {
		for _, p := range h.ports {
			holders[p.addr.Addr()]++
		}
	}
	for _, h := range n.hosts {
		private, public, err := newKey(h.Name)
		if err != nil {
			return nil, err
		}
		m.hostKeys[h.Name] = private
		for _, p := range h.ports {
			names := h.Name
			if holders[p.addr.Addr()] == 1 {
				names += "," + p.addr.Addr().String()
			}
			fmt.Fprintf(&known, "%s %s", names, public)
			fmt.Fprintf(hosts, "%s %s\n", p.addr.Addr(), h.Name)
		}
	}
	m.hosts = hosts.Bytes()
	if err := m.addAccounts(); err != nil {
		return nil, err
	}
	for _, file := range []struct {
		path    string
		content []byte
	}{{n.Key, key}, {n.Key + ".pub", public}, {n.KnownHosts, known.Bytes()}, {n.SSHConfig, n.sshConfig()}} {
		if err := os.WriteFile(file.path, file.content, 0o600); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// newKey makes an ed25519 key pair in OpenSSH's formats.
func newKey(comment string) (private, public []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(sshPub), nil
}

// sshConfig is the client's configuration of OpenSSH.
func (n *Net) sshConfig() []byte {
	var b bytes.Buffer
	for _, h := range n.hosts {
		fmt.Fprintf(&b, "Host %s\n\tHostName %s\n", h.Name, h.Addr)
		if h.jump != nil {
			fmt.Fprintf(&b, "\tProxyJump %s\n", h.jump.Name)
		}
	}
	fmt.Fprintf(&b, `Host *
	User alice
	IdentityFile %s
	IdentitiesOnly yes
	IdentityAgent none
	UserKnownHostsFile %s
	GlobalKnownHostsFile /dev/null
	StrictHostKeyChecking yes
	BatchMode yes
	ConnectTimeout 10
`, n.Key, n.KnownHosts)
	return b.Bytes()
}

// addAccounts takes the machine's accounts, which its programs need, and adds
// those of the hosts. "*" is no password and, other than "!", no locked account.
func (m *machine) addAccounts() error {
	for _, db := range []struct {
		path string
		to   *[]byte
		line func(account) string
	}{
		{"/etc/passwd", &m.passwd, func(a account) string {
			return fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", a.name, a.uid, a.uid, a.home)
		}},
		{"/etc/shadow", &m.shadow, func(a account) string { return a.name + ":*:19000:0:99999:7:::\n" }},
		{"/etc/group", &m.group, func(a account) string { return fmt.Sprintf("%s:x:%d:\n", a.name, a.uid) }},
	} {
		old, err := os.ReadFile(db.path)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		for line := range strings.Lines(string(old)) {
			name, _, _ := strings.Cut(line, ":")
			if a, ok := accountOf(name); ok && a.login {
				continue
			}
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
		for _, a := range accounts() {
			if a.login {
				b.WriteString(db.line(a))
			}
		}
		*db.to = b.Bytes()
	}
	return nil
}

// noise is what a user who likes to see it put into .bashrc. bash reads the
// file whenever sshd starts it, also to run a command.
const noise = `echo "*** welcome to $HOSTNAME, quota 93% used ***"
echo "warning: module load failed" >&2
`

// populate writes the files of a host. It runs with the host's root as root.
func (m *machine) populate(h *Host) error {
	// The machine's may be a link to somewhere.
	if err := os.RemoveAll("/etc/resolv.conf"); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return err
	}
	files := []hostFile{
		{path: "/etc/hostname", content: []byte(h.Name + "\n"), mode: 0o644},
		{path: "/etc/hosts", content: m.hosts, mode: 0o644},
		{path: "/etc/resolv.conf", mode: 0o644},
		{path: "/etc/passwd", content: h.odd.passwd(m.passwd), mode: 0o644},
		{path: "/etc/group", content: m.group, mode: 0o644},
		{path: "/etc/shadow", content: m.shadow, mode: 0o640},
		{path: sshdConfig, content: h.sshdConfig(), mode: 0o644},
		{path: sshdKey, content: m.hostKeys[h.Name], mode: 0o600},
		{path: sshdLog, mode: 0o600},
	}
	if h.files != nil {
		files = append(files, h.files()...)
	}
	for _, f := range files {
		if err := f.write(); err != nil {
			return err
		}
	}
	for _, a := range accounts() {
		if !a.login {
			continue
		}
		if err := os.Mkdir(a.home, 0o755); errors.Is(err, os.ErrExist) {
			continue // it is on a disk
		} else if err != nil {
			return err
		}
		bashrc := ""
		if h.noise {
			bashrc = noise
		}
		dir := filepath.Join(a.home, ".ssh")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		authorized, rc := filepath.Join(dir, "authorized_keys"), filepath.Join(a.home, ".bashrc")
		if err := os.WriteFile(authorized, m.authorized, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(rc, []byte(bashrc), 0o644); err != nil {
			return err
		}
		for _, path := range []string{a.home, dir, authorized, rc} {
			if err := os.Chown(path, int(a.uid), int(a.uid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// write makes the file, and the directory that it is in.
func (f hostFile) write() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(f.path, f.content, f.mode); err != nil {
		return err
	}
	if f.owner == "" {
		return nil
	}
	u, err := user.Lookup(f.owner)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(f.path, uid, gid)
}
