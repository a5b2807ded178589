package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

// Oddity says in what a host differs from others. Without more than a name it is
// an ordinary host. [Linux310] and [AArch64] are two that are hard to describe.
type Oddity struct {
	// Name is the host's name: lower case, one word.
	Name string
	// Shell is the login shell of alice; empty means /bin/bash.
	Shell string
	// SSHD are lines of sshd_config, which come before all others.
	SSHD string
	// Setup is a shell script that root runs on the host before sshd starts.
	// What it makes is no leftover.
	Setup string

	// start are the words before the command that starts sshd: a program that
	// starts others on a machine of another kind.
	start []string
}

// Odd is a running [Net] of hosts that are odd, each in its own way. All are in
// the client's network.
type Odd struct {
	*Net
}

// maxOdd is the number of hosts for which an [Odd] has addresses.
const maxOdd = 50

// OddHosts starts a host for each oddity, and ends them all when the test does.
// It skips or fails the test as [Require] does. Two dozen hosts take about two
// seconds to start.
func OddHosts(t testing.TB, oddities ...Oddity) *Odd {
	t.Helper()
	require(t, "tcsh", "csh", "fish", "busybox-static")
	return during(t, func(ctx context.Context) (*Odd, error) { return startOdd(ctx, oddities) })
}

func startOdd(ctx context.Context, oddities []Oddity) (_ *Odd, err error) {
	if len(oddities) > maxOdd {
		return nil, fmt.Errorf("%d odd hosts, at most %d are possible", len(oddities), maxOdd)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	o := &Odd{Net: newNet()}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close())
		}
	}()
	s := newSubnet()
	for i, odd := range oddities {
		h := &Host{Name: odd.Name, User: "alice", odd: odd}
		h.ports = []port{s.on(outer, "eth0", fmt.Sprintf("odd%d", i), byte(11+i))}
		h.Addr = h.ports[0].addr.Addr().String()
		o.hosts = append(o.hosts, h)
	}
	if err := o.raise(ctx, s.on(outer, "eth0", "client0", 1), 1); err != nil {
		return nil, err
	}
	return o, nil
}

// Host returns the host of that name, or nil.
func (n *Net) Host(name string) *Host {
	for _, h := range n.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// makeOdd runs the script that makes the host odd.
func (h *Host) makeOdd(ctx context.Context) error {
	if h.odd.Setup == "" {
		return nil
	}
	_, err := h.Exec(ctx, "/bin/sh", "-ec", h.odd.Setup)
	return err
}

// passwd is the host's database of users.
func (o Oddity) passwd(db []byte) []byte {
	if o.Shell == "" {
		return db
	}
	a, _ := accountOf("alice")
	return bytes.Replace(db, []byte(":"+a.home+":/bin/bash\n"), []byte(":"+a.home+":"+o.Shell+"\n"), 1)
}
