package launcher

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot"
)

// deployLocal starts the pilots of this machine. They dial this node's own
// socket; nothing is copied and nothing listens.
func (r *siteRun) deployLocal(ctx context.Context) error {
	r.state("starting")
	h := &host{name: r.site.Name, gat: r.gat}
	h.Host, _ = os.Hostname()
	err := r.localScratch(h)
	if err != nil {
		return err
	}
	if h.binary, err = r.s.pilots.Local(h.sessionDir(r.s.id)); err != nil {
		return err
	}
	if err := r.useTokens(ctx, h); err != nil {
		return err
	}
	return r.startPilots(ctx, h, r.site.PilotCount())
}

// localScratch makes the session's directory on this machine.
func (r *siteRun) localScratch(h *host) error {
	candidates := []string{r.site.Scratch}
	if r.site.Scratch == "" {
		candidates = []string{os.TempDir(), "/var/tmp", "/dev/shm"}
	}
	var errs []error
	for _, parent := range candidates {
		base := filepath.Join(parent, pilot.BaseName(os.Getuid()))
		h.Base = base
		seq, err := r.record(KindDir, "", What{Path: h.sessionDir(r.s.id)})
		if err != nil {
			return err
		}
		if err := pilot.SafeDir(base); err != nil {
			errs = append(errs, err)
		} else if err := pilot.SafeDir(h.sessionDir(r.s.id)); err != nil {
			errs = append(errs, err)
		} else {
			r.add(h)
			return r.s.run.Ledger.Confirm(seq, nil)
		}
		if err := r.s.run.Ledger.Remove(seq, "could not be made"); err != nil {
			return err
		}
	}
	h.Base = ""
	return &gat.Error{Class: gat.Permanent, Op: "find scratch", Site: r.site.Name, Err: errors.Join(errs...),
		Hint: `name a directory of your own: scratch = "/path" in the sites file`}
}
