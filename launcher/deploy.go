package launcher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// own is the name of something of the site's in a session's directory, which sites may
// share: two that are queues of one cluster have the same head node.
func (r *siteRun) own(name string, args ...any) string {
	name = fmt.Sprintf(name, args...)
	if r.number == 0 {
		return name
	}
	return fmt.Sprintf("%d-%s", r.number, name)
}

// hubSocket is the name of the hub's socket.
func (r *siteRun) hubSocket() string { return r.own("hub.sock") }

// pilotSocket is the name of the socket of one of a host's pilots.
func (r *siteRun) pilotSocket(number int) string { return r.own("pilot-%d.sock", number) }

// deployRemote logs in, brings the pilot binary, starts the hub and the pilots.
func (r *siteRun) deployRemote(ctx context.Context) error {
	r.s.pilots.Prefetch(usualPlatform)
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
	head.hubs = []string{"unix:" + path.Join(head.sessionDir(r.s.id), r.hubSocket())}
	if r.gat.Attended() {
		// There is one connection, on which the server may allow one session only: that
		// to the hub, which stays.
		if err := r.startPilots(ctx, head, r.site.PilotCount()); err != nil {
			return err
		}
		return r.startHub(ctx, head, false)
	}
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
	if errors.Is(err, gat.ErrForwarding) {
		dial := relayThrough(r.gat)
		if !r.hubOf(head).IsZero() {
			dial = r.dialThrough(head)
		}
		inner, err = r.gat.Inner(ctx, name, dial)
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

// prepare looks at a host for the first time and sees to it that a pilot binary
// is there.
func (r *siteRun) prepare(ctx context.Context, h *host) error {
	r.add(h)
	return r.equip(ctx, h, r.site.Keep)
}

// equip finds a place at a host and sees to it that a pilot binary is there, with
// keep one that outlives the session.
func (r *siteRun) equip(ctx context.Context, h *host, keep bool) error {
	if h.behind == "" {
		r.state("probing")
	}
	if err := r.lookAt(ctx, h, r.site.Scratch); err != nil {
		return err
	}
	return r.bring(ctx, h, keep)
}

// lookAt finds a place at a host, below a directory unless that is empty.
func (r *siteRun) lookAt(ctx context.Context, h *host, scratch string) error {
	h.scratch = scratch
	seq, err := r.record(KindDir, h.behind, What{Path: h.scratch})
	if err != nil {
		return err
	}
	digests := make(map[string]string)
	if b := r.atHand(ctx, usualPlatform); b != nil {
		digests[usualPlatform] = b.Digest
	}
	if err := h.look(ctx, r.s.id, digests); err != nil {
		return err
	}
	if err := r.s.run.Ledger.Confirm(seq, func(w *What) { w.Path = h.sessionDir(r.s.id) }); err != nil {
		return err
	}
	r.change(func(c *SiteChanged) { c.Platform = h.Platform })
	return r.permitted(h)
}

// usualPlatform is the one that hosts are taken for before they are looked at.
const usualPlatform = "linux/amd64"

// bring sees to it that a pilot binary is at a host.
func (r *siteRun) bring(ctx context.Context, h *host, keep bool) error {
	if h.Kept != "" {
		h.binary = h.Kept
		return nil
	}
	b, err := r.s.pilots.Find(ctx, h.Platform)
	if err != nil {
		return fmt.Errorf("site %s: %w", h.name, err)
	}
	if keep && h.Platform != usualPlatform {
		// Whether this one is kept there has not been asked yet.
		if err := h.look(ctx, r.s.id, map[string]string{h.Platform: b.Digest}); err != nil {
			return err
		}
		if h.Kept != "" {
			h.binary = h.Kept
			return nil
		}
	}
	if keep {
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
	if h.behind != "" {
		select {
		case r.uploads <- struct{}{}:
			defer func() { <-r.uploads }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.put(ctx, r.s.id, data, keep, func(n int) { r.moved(n, 0) })
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
