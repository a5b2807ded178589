package sshconfig

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// LocalUser is the name of the user who runs this process, whom ssh takes when
// no other is named.
func LocalUser() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if i := strings.LastIndexByte(name, '\\'); i >= 0 { // Windows: DOMAIN\name
		name = name[i+1:]
	}
	return name
}

// accountHome is the home directory ssh takes for its user's: not $HOME but what the
// user database says.
func accountHome() string {
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		return filepath.Clean(u.HomeDir)
	}
	home, _ := os.UserHomeDir()
	return filepath.Clean(home)
}

// tokens expands what ssh_config(5) calls TOKENS.
type tokens struct {
	home string
	of   map[byte]string
}

func newTokens(h *Host, home, jump string) tokens {
	alias := h.HostKeyAlias
	if alias == "" {
		alias = h.Alias
	}
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	sum := sha1.Sum([]byte(local + h.HostName + h.Port + h.User + jump))
	return tokens{home, map[byte]string{
		'%': "%", 'h': h.HostName, 'n': h.Alias, 'k': alias, 'p': h.Port, 'r': h.User, 'u': LocalUser(),
		'd': home, 'i': fmt.Sprint(os.Getuid()), 'l': local, 'L': short, 'j': jump, 'C': hex.EncodeToString(sum[:]),
	}}
}

// percent expands the tokens named in only.
func (t tokens) percent(s, only string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", errors.New("it ends in a single %")
		}
		v, ok := t.of[s[i]]
		if !ok || !strings.Contains(only, s[i:i+1]) {
			return "", fmt.Errorf("unknown token %%%c", s[i])
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// command expands a ProxyCommand.
func (t tokens) command(s string) (string, error) { return t.percent(s, "%hknpr") }

// path expands a path: ${VAR} or, whole, $VAR; tokens; and ~.
func (t tokens) path(s string) (string, error) {
	if name, ok := strings.CutPrefix(s, "$"); ok && !strings.ContainsAny(name, "{/") {
		v := os.Getenv(name)
		if v == "" {
			return "", fmt.Errorf("the environment has no %s", name)
		}
		return v, nil
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			break
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", errors.New("${ is not closed")
		}
		v, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("the environment has no %s", name)
		}
		// What the environment says is not expanded again.
		b.WriteString(strings.ReplaceAll(v, "%", "%%"))
		s = after
	}
	s, err := t.percent(b.String(), "%hknpruidlLjC")
	if err != nil {
		return "", err
	}
	s = strings.Replace(s, "__PROGRAMDATA__", os.Getenv("ProgramData"), 1) // ssh on Windows
	switch {
	case s == "~":
		return t.home, nil
	case strings.HasPrefix(s, "~/") || strings.HasPrefix(s, `~\`):
		return filepath.Join(t.home, s[2:]), nil
	case strings.HasPrefix(s, "~"):
		name, rest, _ := strings.Cut(s[1:], "/")
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("whose home ~%s is: %w", name, err)
		}
		return filepath.Join(u.HomeDir, rest), nil
	}
	return filepath.Abs(s) // from the directory we are started in, as ssh does
}
