package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// systemConfig is the machine's configuration.
const systemConfig = "/etc/ssh/ssh_config"

// keywords are those the library is asked for; the second kind may be given often.
var (
	single = [...]string{
		"hostname", "user", "port", "addressfamily", "hostkeyalias", "proxyjump", "proxycommand", "identitiesonly", "identityagent",
		"userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "hashknownhosts", "connecttimeout", "proxyusefdpass",
		"pubkeyauthentication", "kexalgorithms", "ciphers", "macs", "hostkeyalgorithms",
	}
	multiple = [...]string{"identityfile", "certificatefile"}
)

// read resolves the query without ssh. The user's file comes first and the
// machine's second; for each keyword the first value counts.
func (q query) read() (Host, error) {
	v := values{}
	var sources []string
	files := []string{q.config()}
	if q.own && runtime.GOOS != "windows" {
		files = append(files, systemConfig)
	}
	for _, name := range files {
		c, err := decode(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = v.add(c, q.host)
		}
		if err != nil {
			return Host{}, &Error{Hint: "install OpenSSH's ssh, which understands every line, or move what is not understood out of the file",
				Err: fmt.Errorf("read the ssh configuration %s: %w", name, err)}
		}
		sources = append(sources, name)
	}
	if q.user != "" {
		v["user"] = []string{q.user}
	}
	if q.port != "" {
		v["port"] = []string{q.port}
	}
	for _, k := range []string{"userknownhostsfile", "globalknownhostsfile"} {
		v[k] = words(v[k])
	}
	if name := v.one("hostname"); name != "" {
		t := tokens{of: map[byte]string{'%': "%", 'h': q.host}}
		name, err := t.percent(name, "%h")
		if err != nil {
			return Host{}, &Error{Hint: "mend ~/.ssh/config", Err: fmt.Errorf("the HostName of %s: %w", q.host, err)}
		}
		v["hostname"] = []string{name}
	}
	if len(v["userknownhostsfile"]) == 0 {
		v["userknownhostsfile"] = []string{"~/.ssh/known_hosts ~/.ssh/known_hosts2"}
	}
	if len(v["globalknownhostsfile"]) == 0 {
		v["globalknownhostsfile"] = []string{"/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"}
	}
	h, err := v.host(q)
	if err != nil {
		return Host{}, &Error{Hint: "mend ~/.ssh/config", Err: fmt.Errorf("the ssh configuration of %s: %w", q.host, err)}
	}
	if h.Source = strings.Join(sources, ", "); h.Source == "" {
		h.Source = "no configuration"
	}
	return h, nil
}

// add adds what c says of a host to what earlier files said.
func (v values) add(c *ssh_config.Config, host string) error {
	for _, k := range single {
		all, err := c.GetAll(host, k)
		if err != nil {
			return err
		}
		if len(all) > 0 && len(v[k]) == 0 {
			v[k] = all[:1]
		}
	}
	for _, k := range multiple {
		all, err := c.GetAll(host, k)
		if err != nil {
			return err
		}
		v[k] = append(v[k], all...)
	}
	return nil
}

// decode reads a configuration file.
func decode(name string) (c *ssh_config.Config, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxOutput {
		return nil, fmt.Errorf("it is larger than %d bytes", maxOutput)
	}
	defer func() { // the library's parser panics where it did not think of something
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("it is not understood: %v", r)
		}
	}()
	return ssh_config.DecodeBytes(data)
}

// words splits values at spaces outside of double quotes, which are taken off.
func words(lines []string) []string {
	var all []string
	for _, line := range lines {
		for i, part := range strings.Split(line, `"`) {
			if i%2 == 1 {
				all = append(all, part)
			} else {
				all = append(all, strings.Fields(part)...)
			}
		}
	}
	return all
}
