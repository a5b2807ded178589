package launcher

import (
	"fmt"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// A deniedError says that the administrator of a site's host does not want us
// there. Its class is [gat.Denied]: trying again is no use.
type deniedError struct {
	site   string
	denial *pilot.Denial
}

func (e *deniedError) Error() string { return fmt.Sprintf("site %s: %v", e.site, e.denial) }

// Unwrap returns the error with its class.
func (e *deniedError) Unwrap() error {
	return &gat.Error{Class: gat.Denied, Op: "start", Site: e.site, Err: e.denial}
}

// permitted reports, as an error, that the policy of a host, as a look at it told,
// does not let run there what would.
func (r *siteRun) permitted(h *host) error {
	hub := !r.site.NoHub && h.behind == ""
	pilots := h.behind != "" || !r.site.Batch() && len(r.site.Hosts) == 0
	d := h.denial(hub, pilots)
	if d == nil {
		return nil
	}
	return &deniedError{r.site.Name, d}
}

// denial is why the policy of a host does not let run there what is to: a hub,
// pilots or both. It is nil when it does.
func (f *facts) denial(hub, pilots bool) *pilot.Denial {
	d := pilot.DenialOf(f.Host, f.Policy, f.PolicyErr)
	if d != nil && (hub || pilots) {
		return d
	}
	if d == nil && pilots {
		return pilot.NoPilots(f.Host, f.Policy)
	}
	return nil
}

// denied returns the error of an agent that ended on a host whose administrator does
// not want it, by what it said and its exit status; nil when that was not why.
func denied(site, host, said string, exit int) error {
	d, ok := pilot.DenialIn(strings.TrimPrefix(said, ": "))
	switch {
	case ok:
	case exit == pilot.ExitDenied:
		d = &pilot.Denial{Host: host, Message: "its words are in " + policy.Path + " there"}
	default:
		return nil
	}
	return &deniedError{site, d}
}
