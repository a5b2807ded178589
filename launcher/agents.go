package launcher

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
)

// hubNice is the priority that hubs take: the lowest.
const hubNice = 19

// startHub starts the hub on a host and keeps a connection to it. With wait it
// returns when the hub is part of the session.
func (r *siteRun) startHub(ctx context.Context, h *host, wait bool) error {
	t := newToken(wire.RoleHub, maxRestarts+1)
	if err := r.s.admit(r.site.Name, t); err != nil {
		return err
	}
	boot := pilot.Boot{Role: "hub", Socket: r.hubSocket(), Nice: hubNice, Publish: h.publish,
		HubCPU: uint32(r.site.HubCPU), HubBandwidth: uint64(r.site.HubBandwidth)}
	if err := r.startAgent(ctx, h, KindHub, boot, t); err != nil {
		return err
	}
	up := make(chan error, 1)
	r.wg.Go(func() { r.stayAttached(r.s.life, h, r.hubSocket(), up) })
	if !wait {
		return nil
	}
	select {
	case err := <-up:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startPilots starts the pilots of a host.
func (r *siteRun) startPilots(ctx context.Context, h *host, count int) error {
	for range count {
		if err := r.startPilot(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// startPilot starts one pilot. Without a hub to dial it waits on a socket of
// its own to be called, over the login.
func (r *siteRun) startPilot(ctx context.Context, h *host) error {
	boot := pilot.Boot{Role: "pilot", Hubs: h.hubs, HangUp: r.site.Local()}
	r.mu.Lock()
	number := h.pilots
	h.pilots++
	r.mu.Unlock()
	token := h.token
	if len(h.hubs) == 0 {
		t := newToken(wire.RolePilot, 1)
		token = &t
		if err := r.s.admit(r.site.Name, t); err != nil {
			return err
		}
	}
	if !r.site.Local() && h.behind == "" || len(h.hubs) == 0 {
		boot.Socket = r.pilotSocket(number)
	}
	if err := r.startAgent(ctx, h, KindPilot, boot, *token); err != nil {
		return err
	}
	r.change(func(c *SiteChanged) { c.Submitted++ })
	if len(h.hubs) == 0 {
		r.wg.Go(func() { r.stayAttached(r.s.life, h, boot.Socket, make(chan error, 1)) })
	}
	return nil
}

// brief writes down for an agent what all agents of the site are told.
func (r *siteRun) brief(boot pilot.Boot, t wire.Token) ([]byte, error) {
	site := r.site
	boot.Session, boot.Site = r.s.id, site.Name
	boot.Pin = r.s.authority.Pin().String()
	boot.Token, boot.Secret = t.Name, hex.EncodeToString(t.Secret)
	boot.Slots, boot.Cores, boot.Memory, boot.Disk, boot.GPUs = site.Slots, site.Cores, site.Memory, site.Disk, site.GPUs
	boot.Lease = pilot.Duration(r.s.leaseOf(site))
	boot.Verbose = r.s.opts.Verbose
	if !site.Batch() || boot.Role == "pilot" {
		boot.Walltime = pilot.Duration(site.Walltime) // no Idle: a session of one job ends with it
	}
	return boot.Encode()
}

// startAgent starts a hub or a pilot on a host and watches over it.
func (r *siteRun) startAgent(ctx context.Context, h *host, kind Kind, boot pilot.Boot, t wire.Token) error {
	boot.Base, boot.Name = h.Base, h.Host
	data, err := r.brief(boot, t)
	if err != nil {
		return err
	}
	setup := r.site.Setup
	if r.site.Batch() {
		setup = nil // it is for the nodes where workers run
	}
	r.mu.Lock()
	h.agents++
	complaints := path.Join(h.sessionDir(r.s.id), r.own("stderr-%d", h.agents))
	r.mu.Unlock()
	seq, err := r.record(kind, h.behind, What{Path: h.sessionDir(r.s.id)})
	if err != nil {
		return err
	}
	ids, err := h.gat.Submit(ctx, gat.JobSpec{
		Name:   "zorilla-" + string(r.s.id),
		Argv:   []string{h.binary, "agent", string(r.s.id), "-"},
		Setup:  setup,
		Stdin:  data,
		Stderr: complaints,
	})
	if err != nil {
		return err
	}
	if err := r.s.run.Ledger.Confirm(seq, func(w *What) { w.Job = string(ids[0]) }); err != nil {
		return err
	}
	r.wg.Go(func() { r.watch(r.s.life, h, kind, ids[0], complaints) })
	return nil
}

func (s *session) leaseOf(site *Site) time.Duration {
	if site.Lease > 0 {
		return site.Lease
	}
	return s.lease()
}

// watch waits for the end of an agent that should not end, or that never joins,
// and says why.
func (r *siteRun) watch(ctx context.Context, h *host, kind Kind, id gat.JobID, complaints string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(joinPatience, func() {
		if kind == KindPilot && r.outstanding() {
			r.gaveUpOn(fmt.Errorf("site %s: a pilot on %s was started and did not join within %v%s", r.site.Name, h.Host, joinPatience, r.said(ctx, h, complaints)))
		}
	})
	defer late.Stop()
	for status, err := range h.gat.Watch(ctx, id) {
		if err != nil || !status.State.Final() {
			continue
		}
		if kind == KindHub && !r.ending() {
			text := r.said(ctx, h, complaints)
			if err := denied(r.site.Name, h.Host, text, status.Exit); err != nil {
				r.gone(err)
			} else if text != "" {
				r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the hub on %s ended%s", h.Host, text)})
			}
		}
		if kind == KindPilot && r.outstanding() && late.Stop() {
			text := r.said(ctx, h, complaints)
			err := denied(r.site.Name, h.Host, text, status.Exit)
			if err == nil {
				err = fmt.Errorf("site %s: a pilot on %s ended before it joined%s", r.site.Name, h.Host, text)
			}
			r.gaveUpOn(err)
		}
	}
}

// outstanding reports whether some pilot of the site has not joined yet.
func (r *siteRun) outstanding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.finishing && r.status.Submitted > r.joined+r.gaveUp
}

// said returns what an agent complained of, or what else may have ended it, with
// a colon before it.
func (r *siteRun) said(ctx context.Context, h *host, file string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b strings.Builder
	if err := h.gat.Get(ctx, file, &b, 4096); err == nil && strings.TrimSpace(b.String()) != "" {
		return ": " + strings.TrimSpace(b.String())
	}
	// Where the disk is full the complaint found no room either.
	if free, err := h.free(ctx); err == nil && free < minFree {
		return fmt.Sprintf(": no space left on device: %s has %d KiB free (%s)", h.Base, free>>10, scratchHint)
	}
	return ""
}
