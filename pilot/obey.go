package pilot

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// ExitDenied is the exit status of an agent that the host's administrator does not
// want: EX_NOPERM of sysexits(3).
const ExitDenied = 77

// Ended is the reason that agents give which leave because the host's policy
// bounds their life.
const Ended = "policy"

// policyEvery is how often an agent looks whether it is still wanted.
const policyEvery = time.Minute

// A Denial is why no agent may run on a host. Where it is seen before an agent
// was started, and when an agent was, it reads the same.
type Denial struct{ Host, Message string }

// denies is in each denial that an agent writes to its standard error, between the host
// and the message.
const (
	deniedBy = "the administrator of "
	denies   = " denies: "
)

func (d *Denial) Error() string { return deniedBy + d.Host + denies + d.Message }

// DenialIn finds a denial in what an agent wrote to its standard error, or in the
// reason with which a pilot left.
func DenialIn(text string) (*Denial, bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "zorilla-pilot: ")
		if rest, ok := strings.CutPrefix(line, deniedBy); ok {
			if host, message, ok := strings.Cut(rest, denies); ok {
				return &Denial{host, message}, true
			}
		}
	}
	return nil, false
}

// DenialOf returns why a host's policy, or an error of reading it, lets no agent run
// there at all; nil when it lets some.
func DenialOf(host string, p policy.Policy, err error) *Denial {
	switch {
	case err != nil:
		return &Denial{host, err.Error() + "; nothing runs there until that is mended"}
	case p.Deny && p.Message != "":
		return &Denial{host, p.Message}
	case p.Deny:
		return &Denial{host, "deny = true in " + policy.Path}
	}
	return nil
}

// NoPilots returns why a policy that lets hubs run lets no pilot; nil when it does.
func NoPilots(host string, p policy.Policy) *Denial {
	said := ""
	if p.Message != "" {
		said = "; " + p.Message
	}
	switch {
	case p.NoPilots:
		return &Denial{host, "no pilot may run there (max_pilots = 0)" + said}
	case p.CPU > 0 && p.CPU < 1000:
		return &Denial{host, "no pilot may run there (max_cpu is less than a core)" + said}
	}
	return nil
}

// permit is what an agent may do on its host.
type permit struct {
	policy.Policy
	host  string
	of    string    // whose tickets it takes
	cores int       // of a pilot; 0: no bound
	held  []*ticket // while it lives
}

// permission reads a host's policy and takes what an agent needs of it. The error
// is a [Denial], or says that others have it all.
func permission(boot *Boot, path string) (*permit, error) {
	host := boot.Name
	if host == "" {
		host, _ = os.Hostname()
	}
	p, err := policy.Read(path)
	if d := DenialOf(host, p, err); d != nil {
		return nil, d
	}
	m := &permit{Policy: p, host: host, of: fmt.Sprintf("zorilla-%d%s-", os.Getuid(), path)}
	if boot.Role == wire.RoleHub.String() {
		return m, nil
	}
	if d := NoPilots(host, p); d != nil {
		return nil, d
	}
	if m.Pilots > 0 && m.take("pilot", m.Pilots, 1) == 0 {
		return nil, m.taken(fmt.Sprintf("max_pilots = %d", m.Pilots))
	}
	if most := m.CPU / 1000; most > 0 {
		want := most
		if boot.Cores > 0 {
			want = min(want, boot.Cores)
		}
		if m.cores = m.take("core", most, want); m.cores == 0 {
			return nil, m.taken("max_cpu = " + policy.FormatCPU(m.CPU))
		}
		keepTo(m.held[len(m.held)-m.cores:])
	}
	return m, nil
}

// take takes up to want of the tickets of a kind that there are on this host for one
// user, and returns how many.
func (m *permit) take(kind string, most, want int) (got int) {
	for i := range most {
		if got == want {
			break
		}
		if t := takeTicket(m.of+kind, i); t != nil {
			m.held = append(m.held, t)
			got++
		}
	}
	return got
}

// taken says that others have all that is allowed.
func (m *permit) taken(what string) error {
	m.release()
	return fmt.Errorf("%s%s allows the pilots of one user no more than %s, which is in use", deniedBy, m.host, what)
}

// release gives back what others of this user may have.
func (m *permit) release() {
	for _, t := range m.held {
		t.release()
	}
	m.held = nil
}

// fit fits what a pilot offers to what it may use.
func (m *permit) fit(o wire.Offer) wire.Offer {
	if m.cores > 0 {
		o.Cores = min(o.Cores, uint32(m.cores))
		o.Slots = min(o.Slots, o.Cores)
	}
	return o
}

// limits are the bounds on the bulk that an agent moves: the policy's, and those of a hub's
// boot record.
func (m *permit) limits(b *Boot) transport.Limits {
	l := transport.Limits{Bandwidth: lesser(m.Bandwidth, int64(b.HubBandwidth))}
	if b.Role == wire.RoleHub.String() {
		l.CPU, l.CPUTime = lesser(m.CPU, int(b.HubCPU)), cpuTime
	}
	return l
}

// lesser is the lesser of two bounds, where 0 is none.
func lesser[N int | int64 | time.Duration](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stayPermitted looks from time to time whether this agent is still wanted, until ctx
// ends. A policy that cannot be read may be one that is being written: it denies
// those who come, not those who are here.
func (r *resident) stayPermitted(ctx context.Context, path string) {
	for pause(ctx, policyEvery) {
		p, err := policy.Read(path)
		if err == nil && p.Deny {
			d := DenialOf(r.permit.host, p, nil)
			r.log.Warn("not wanted any more", "reason", d)
			r.drain(d.Error())
			return
		}
	}
}
