package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

// A keeper decides about the host key that one server shows. A key that has
// changed or is revoked is never taken, whoever says so; an unknown one as
// StrictHostKeyChecking says: never, when the user says yes, or always the first time.
type keeper struct {
	c     *connector
	h     *hop
	ctx   context.Context
	clock *alarm
	known *knownHosts

	trusted bool
	err     error  // why the key is not taken
	note    string // what the user should know of how it was
}

func (c *connector) keeper(ctx context.Context, h *hop, clock *alarm) (*keeper, error) {
	known, err := readKnownHosts(c.home, h.config)
	if err != nil {
		return nil, err
	}
	return &keeper{c: c, h: h, ctx: ctx, clock: clock, known: known}, nil
}

// check says whether to go on with a server that shows key.
func (k *keeper) check(key gossh.PublicKey) error {
	k.err = k.known.check(k.h, key)
	if unknown, ok := errors.AsType[*unknownHost](k.err); ok {
		if cert, ok := key.(*gossh.Certificate); ok {
			key = cert.Key
		}
		k.err = k.first(key, unknown, k.err)
	}
	k.trusted = k.err == nil
	return k.err
}

// first decides about the key of a host of which nothing is known; refusal says so.
func (k *keeper) first(key gossh.PublicKey, unknown *unknownHost, refusal error) error {
	ask := k.c.target.Ask
	strict := k.h.config.StrictHostKeyChecking
	d := k.c.shared.host(k.h.name(), string(key.Marshal()))
	if err := d.take(k.ctx, k.clock, k.c.target.Pause); err != nil {
		return fmt.Errorf("wait for the decision on the host key of %s: %w", k.h.addr(), err)
	}
	defer d.give()
	// Somebody may have decided meanwhile.
	known, err := readKnownHosts(k.c.home, k.h.config)
	if err != nil {
		return err
	}
	switch k.known = known; {
	case d.trusted || known.check(k.h, key) == nil:
		return nil
	case strict == sshconfig.Yes, strict == sshconfig.Ask && ask == nil, strict != sshconfig.Ask && unknown.bad:
		return refusal
	case strict == sshconfig.Ask && d.refused != nil && time.Since(d.at) < refusalTime:
		return fmt.Errorf("%w: %w", refusal, d.refused)
	case strict == sshconfig.Ask:
		if err := k.ask(key, unknown); err != nil {
			if k.ctx.Err() != nil {
				return fmt.Errorf("ask about the host key of %s: %w", k.h.addr(), context.Cause(k.ctx))
			}
			if again, ok := errors.AsType[*gat.Error](err); ok && again.Class == gat.Transient {
				return problem(gat.Transient, again.Hint, again.Err) // nobody has seen it
			}
			d.refused, d.at = err, time.Now()
			return fmt.Errorf("%w: %w", refusal, err)
		}
	default:
		k.note = "its new host key taken unasked"
		if strict == sshconfig.No {
			k.note += " (StrictHostKeyChecking no counts as accept-new)"
		}
	}
	d.trusted = true
	if err := k.remember(key); err != nil {
		k.note = strings.TrimPrefix(k.note+"; host key not written down: "+err.Error(), "; ")
	}
	return nil
}

// ask has the user decide, as ssh does: by yes, no or the fingerprint.
func (k *keeper) ask(key gossh.PublicKey, unknown *unknownHost) error {
	print := gossh.FingerprintSHA256(key)
	at := k.h.addr()
	if k.h.port == "22" {
		at = k.h.host
	}
	if k.h.written.host != k.h.host {
		at = k.h.written.host + " (" + at + ")"
	}
	question := fmt.Sprintf("the host key of %s is unknown: it shows %s %s. Trust it, if its administrator gives the same? (yes/no)", at, strings.TrimPrefix(key.Type(), "ssh-"), print)
	if unknown.bad {
		question = unknown.text + "\n" + question
	}
	defer k.clock.pause()()
	for range maxTries {
		answer, err := k.c.target.Ask(k.ctx, k.c.target.Site, question, false)
		if err != nil {
			return plainly(err)
		}
		switch answer = strings.TrimSpace(answer); {
		case strings.EqualFold(answer, "yes") || answer == print:
			return nil
		case strings.EqualFold(answer, "no") || answer == "":
			return errors.New("the answer was no")
		}
		question = "write yes, no or the fingerprint: trust " + print + " of " + at + "? (yes/no)"
	}
	return errors.New("the answer was neither yes nor no")
}

// remember appends the host's key to the user's known_hosts.
func (k *keeper) remember(key gossh.PublicKey) error {
	file := k.known.file
	if file == "" {
		return nil
	}
	name := knownhosts.Normalize(k.h.name())
	if k.h.config.HashKnownHosts {
		name = knownhosts.HashHostname(name)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	defer lockFile(f)()
	line := []byte(knownhosts.Line([]string{name}, key) + "\n")
	if end, err := f.Stat(); err != nil {
		return err
	} else if n := end.Size(); n > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, n-1); err != nil {
			return err
		}
		if !bytes.Equal(last, []byte("\n")) {
			line = append([]byte("\n"), line...)
		}
	}
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}
