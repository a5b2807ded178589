package launcher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Names of sockets in a session's directory.
const (
	hubSocket   = "hub.sock"
	pilotSocket = "pilot-%d.sock"
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

// deployRemote logs in, brings the pilot binary, starts the hub and the pilots.
func (r *siteRun) deployRemote(ctx context.Context) error {
	r.s.pilots.Prefetch("linux/amd64")
	r.state("connecting")
	if err := r.gat.Login(ctx); err != nil {
		return err
	}
	head := &host{name: r.site.Name, gat: r.gat}
	if err := r.prepare(ctx, head); err != nil {
		return err
	}
	r.state("starting")
	if r.site.NoHub {
		if len(r.site.Hosts) == 0 {
			return r.startPilots(ctx, head, r.site.PilotCount())
		}
		return r.deployInner(ctx, head)
	}
	if err := r.useTokens(ctx, head); err != nil {
		return err
	}
	if len(r.site.Hosts) > 0 {
		if err := r.startHub(ctx, head, true); err != nil {
			return err
		}
		return r.deployInner(ctx, head)
	}
	// The pilots wait for the hub by themselves: start both at once.
	head.hubs = []string{"unix:" + path.Join(head.sessionDir(r.s.id), hubSocket)}
	hub := make(chan error, 1)
	go func() { hub <- r.startHub(ctx, head, false) }()
	err := r.startPilots(ctx, head, r.site.PilotCount())
	return errors.Join(<-hub, err)
}

// deployInner brings up the pilots on the hosts behind the site's own.
func (r *siteRun) deployInner(ctx context.Context, head *host) error {
	per := max(1, r.site.PilotCount()/len(r.site.Hosts))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, maxParallel)
	for _, name := range r.site.Hosts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := r.deployBehind(ctx, head, name, per); err != nil && ctx.Err() == nil {
				r.s.events.emit(Warned{Site: r.site.Name, Text: oneLine(err)})
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(errs) == len(r.site.Hosts) {
		return errors.Join(errs...)
	}
	return ctx.Err()
}

// deployBehind brings up the pilots of one host behind the site's own.
func (r *siteRun) deployBehind(ctx context.Context, head *host, name string, pilots int) error {
	inner, err := r.gat.Inner(ctx, name, nil)
	if errors.Is(err, gat.ErrForwarding) && !r.hubOf(head).IsZero() {
		inner, err = r.gat.Inner(ctx, name, r.dialThrough(head))
	}
	if err != nil {
		return err
	}
	h := &host{name: inner.Name(), behind: name, gat: inner}
	if err := r.prepare(ctx, h); err != nil {
		return err
	}
	if !r.hubOf(head).IsZero() && h.From != "" {
		address, err := r.listenAt(ctx, head, h.From)
		if err != nil {
			r.s.log.Info("the hub does not listen", "site", r.site.Name, "address", h.From, "error", err)
		} else {
			h.hubs = []string{"tcp:" + address}
			h.token = head.token
		}
	}
	return r.startPilots(ctx, h, pilots)
}

// prepare looks at a host and sees to it that a pilot binary is there.
func (r *siteRun) prepare(ctx context.Context, h *host) error {
	if h.behind == "" {
		r.state("probing")
	}
	h.scratch = r.site.Scratch
	seq, err := r.record(KindDir, h.behind, What{Path: h.scratch})
	if err != nil {
		return err
	}
	r.add(h)
	digests := make(map[string]string)
	for _, platform := range []string{"linux/amd64"} {
		if b := r.atHand(ctx, platform); b != nil {
			digests[platform] = b.Digest
		}
	}
	if err := h.look(ctx, r.s.id, digests); err != nil {
		return err
	}
	if err := r.s.run.Ledger.Confirm(seq, func(w *What) { w.Path = h.sessionDir(r.s.id) }); err != nil {
		return err
	}
	r.change(func(c *SiteChanged) { c.Platform = h.Platform })
	if h.Kept != "" {
		h.binary = h.Kept
		return nil
	}
	b, err := r.s.pilots.Find(ctx, h.Platform)
	if err != nil {
		return fmt.Errorf("site %s: %w", h.name, err)
	}
	if r.site.Keep {
		what := What{Path: path.Join(h.Base, "pilot-"+b.Digest), Digest: b.Digest, Keep: true}
		if _, err := r.record(KindBinary, h.behind, what); err != nil {
			return err
		}
	}
	if h.behind == "" {
		r.state("uploading")
	}
	data, err := readBinary(b)
	if err != nil {
		return err
	}
	return h.put(ctx, r.s.id, data, r.site.Keep, func(n int) { r.moved(n, 0) })
}

// atHand returns a pilot binary that needs no waiting for.
func (r *siteRun) atHand(ctx context.Context, platform string) *bundle.Binary {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	b, err := r.s.pilots.Find(ctx, platform)
	if err != nil {
		return nil
	}
	return b
}

func readBinary(b *bundle.Binary) (pilotBinary, error) {
	f, err := b.Open()
	if err != nil {
		return pilotBinary{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	return pilotBinary{raw: raw, digest: b.Digest, gzip: b.Gzip}, err
}

// add makes a host known to the final clean-up.
func (r *siteRun) add(h *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts = append(r.hosts, h)
}

// useTokens makes the token that the site's pilots join by.
func (r *siteRun) useTokens(ctx context.Context, h *host) error {
	t := newToken(wire.RolePilot, 3*r.site.PilotCount()+maxRestarts)
	h.token = &t
	if r.site.Local() {
		h.hubs = []string{"unix:" + r.s.socket}
		return r.s.admit(r.site.Name, t)
	}
	return r.s.agent.Call(ctx, func(now time.Duration, n *core.Node) { n.Admit(now, r.site.Name, []wire.Token{t}) })
}

// tokenLife is how long a join token is good for at most; it ends with the run.
const tokenLife = 30 * 24 * time.Hour

func newToken(role wire.Role, joins int) wire.Token {
	secret := make([]byte, 32)
	rand.Read(secret)
	return wire.Token{Name: rand.Text()[:12], Secret: secret, Role: role, Joins: uint32(joins), TTL: tokenLife}
}

// admit lets this node's own signer admit by a token.
func (s *session) admit(site string, t wire.Token) error {
	return s.signer.AddToken(transport.Token{Name: t.Name, Secret: t.Secret, Role: t.Role, Site: site, Joins: int(t.Joins)})
}

// startHub starts the hub on a host and keeps a connection to it. With wait it
// returns when the hub is part of the session.
func (r *siteRun) startHub(ctx context.Context, h *host, wait bool) error {
	t := newToken(wire.RoleHub, maxRestarts+1)
	if err := r.s.admit(r.site.Name, t); err != nil {
		return err
	}
	if err := r.startAgent(ctx, h, KindHub, pilot.Boot{Role: "hub", Socket: hubSocket, Nice: 19}, t); err != nil {
		return err
	}
	up := make(chan error, 1)
	r.wg.Go(func() { r.stayAttached(r.s.life, h, hubSocket, up) })
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
		boot.Socket = fmt.Sprintf(pilotSocket, number)
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

// startAgent starts a hub or a pilot on a host and watches over it.
func (r *siteRun) startAgent(ctx context.Context, h *host, kind Kind, boot pilot.Boot, t wire.Token) error {
	site := r.site
	boot.Session, boot.Site = r.s.id, site.Name
	boot.Pin = r.s.authority.Pin().String()
	boot.Token, boot.Secret = t.Name, hex.EncodeToString(t.Secret)
	boot.Base, boot.Name = h.Base, h.Host
	boot.Slots, boot.Cores, boot.Memory, boot.Disk = site.Slots, site.Cores, site.Memory, site.Disk
	boot.Lease = pilot.Duration(r.s.leaseOf(site))
	boot.Walltime = pilot.Duration(site.Walltime) // no Idle: a session of one job ends with it
	data, err := boot.Encode()
	if err != nil {
		return err
	}
	r.mu.Lock()
	h.agents++
	complaints := path.Join(h.sessionDir(r.s.id), fmt.Sprintf("stderr-%d", h.agents))
	r.mu.Unlock()
	seq, err := r.record(kind, h.behind, What{Path: h.sessionDir(r.s.id)})
	if err != nil {
		return err
	}
	argv := []string{h.binary, "agent", string(r.s.id), "-"}
	if len(site.Setup) > 0 {
		argv = append([]string{"/bin/sh", "-c", setupScript(site.Setup), "zorilla-setup"}, argv...)
	}
	ids, err := h.gat.Submit(ctx, gat.JobSpec{
		Name:   "zorilla-" + string(r.s.id),
		Argv:   argv,
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

// setupScript runs the user's lines and then, in the same shell, the agent, which
// inherits what they set. The first line that fails is the end: a pilot without
// what it was to find would fail every worker. The lines do not get to read
// the agent's boot record.
func setupScript(lines []string) string {
	return `trap 'echo "a line of setup failed with status $?" >&2' 0
set -e
exec 9<&0 </dev/null
` + strings.Join(lines, "\n") + `
exec <&9 9<&-
set +e
trap - 0
exec "$@"
`
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
			if text := r.said(ctx, h, complaints); text != "" {
				r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the hub on %s ended%s", h.Host, text)})
			}
		}
		if kind == KindPilot && r.outstanding() && late.Stop() {
			r.gaveUpOn(fmt.Errorf("site %s: a pilot on %s ended before it joined%s", r.site.Name, h.Host, r.said(ctx, h, complaints)))
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
