package launcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// gcTimeout bounds the clean-up of one host after the login.
const gcTimeout = time.Minute

// GCOptions say what to clean up after.
type GCOptions struct {
	Runs     []string      // names of runs; none means all that are over
	State    string        // state directory; empty means the default
	Backends []gat.Backend // the middleware that can be reached
	Dial     gat.DialFunc  // opens connections to sites; nil means plainly
	Home     string        // holds the user's .ssh; empty means the home directory
	Log      *slog.Logger
	Ask      AskFunc // puts a question to the user; nil when nobody is there

	polls *pollStore
	gate  gat.Gate
	turn  chan struct{} // of who asks the user
}

// GCReport says what was cleaned up.
type GCReport struct {
	Runs []GCRun
}

// GCRun is the clean-up after one run.
type GCRun struct {
	Run     string
	Removed []Made     // what is now surely gone
	Left    []Leftover // what may still be there, with the reason
}

// GC finishes what runs could not: it logs in again wherever the ledgers of
// runs without a launcher have something made, ends what lives there, removes
// the rest and says what it could not reach. Its error joins those of runs
// that could not be looked at.
func GC(ctx context.Context, o GCOptions) (GCReport, error) {
	var report GCReport
	state, err := OpenState(o.State)
	if err != nil {
		return report, err
	}
	if o.polls, err = state.polls(); err != nil {
		return report, err
	}
	o.gate, o.turn = gat.NewGate(maxLogins), make(chan struct{}, 1)
	names := o.Runs
	if len(names) == 0 {
		runs, err := state.Runs()
		if err != nil {
			return report, err
		}
		for _, r := range runs {
			if !r.Running && len(r.Leftovers) > 0 {
				names = append(names, r.Begun.Run)
			}
		}
	}
	var errs []error
	for _, name := range names {
		run, err := gcRun(ctx, o, state, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		report.Runs = append(report.Runs, run)
	}
	if _, err := state.Prune(KeepRuns); err != nil {
		errs = append(errs, err)
	}
	return report, errors.Join(errs...)
}

// place is where things were made: a host of a site.
type place struct {
	site, host string
	local      bool
}

func gcRun(ctx context.Context, o GCOptions, state *State, name string) (GCRun, error) {
	report := GCRun{Run: name}
	run, err := state.Adopt(name)
	if err != nil {
		return report, err
	}
	defer run.Close()
	logins := make(map[string]What)
	places := make(map[place][]Made)
	hosts := make(map[string][]place) // by site
	for _, m := range run.Ledger.All() {
		if m.Kind == KindLogin {
			logins[m.Site] = m.What
		}
		if !m.Leftover() {
			continue
		}
		p := place{m.Site, m.Host, m.Local}
		if places[p] == nil {
			hosts[p.site] = append(hosts[p.site], p)
		}
		places[p] = append(places[p], m)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	reasons := make(map[place]string)
	done := func(p place, err error) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range places[p] {
			if err != nil {
				reasons[p] = oneLine(err)
			} else if err := run.Ledger.Remove(m.Seq, "gc"); err != nil {
				reasons[p] = oneLine(err)
			} else {
				report.Removed = append(report.Removed, m)
			}
		}
	}
	for name, hosts := range hosts {
		wg.Go(func() {
			// All hosts of a site are reached over one login, which the user may be asked for.
			site, err := gcSite(ctx, o, run, name, logins[name])
			var cleaned sync.WaitGroup
			for _, p := range hosts {
				if err != nil {
					done(p, err)
					continue
				}
				cleaned.Go(func() { done(p, gcPlace(ctx, o, run, site, p, logins[name], places[p])) })
			}
			cleaned.Wait()
			if err == nil {
				site.Close()
			}
		})
	}
	wg.Wait()
	os.Remove(filepath.Join(run.Path, controlName))
	os.Remove(filepath.Join(run.Path, nodeSocket))
	report.Left = LeftoversOf(run.Ledger.All(), func(m Made) string { return reasons[place{m.Site, m.Host, m.Local}] })
	slices.SortFunc(report.Removed, func(a, b Made) int { return a.Seq - b.Seq })
	return report, nil
}

// gcSite logs in to a site.
func gcSite(ctx context.Context, o GCOptions, run *RunDir, name string, login What) (*gat.Site, error) {
	var urls []*url.URL
	for _, text := range login.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("the ledger's URL of site %s: %w", name, err)
		}
		urls = append(urls, u)
	}
	cfg := gat.SiteConfig{Name: name, URLs: urls, Backends: o.Backends, Dial: o.Dial, Home: o.Home, Logger: o.Log, Polls: o.polls,
		Gate: o.gate, Turn: o.turn, Ask: o.Ask, Observe: run.operations.observe}
	site, err := gat.NewSite(cfg)
	if err != nil {
		return nil, err
	}
	if err := site.Login(ctx); err != nil {
		site.Close()
		return nil, err
	}
	return site, nil
}

// gcPlace cleans one host of a site.
func gcPlace(ctx context.Context, o GCOptions, run *RunDir, site *gat.Site, p place, login What, made []Made) error {
	ctx, cancel := context.WithTimeout(ctx, gcTimeout)
	defer cancel()
	h := &host{name: p.site, behind: p.host, gat: site, scratch: login.Path}
	if scheme, _, _ := strings.Cut(login.URLs[0], ":"); batchScheme(scheme) {
		h.gat = site.Head()
		defer h.gat.Close()
		if err := emptyQueue(ctx, site, o.polls, made, nil); err != nil {
			return err
		}
	}
	if p.host != "" {
		inner, err := site.Inner(ctx, p.host, nil)
		if errors.Is(err, gat.ErrForwarding) {
			inner, err = site.Inner(ctx, p.host, relayThrough(site))
		}
		if err != nil {
			return err
		}
		defer inner.Close()
		h.name, h.gat = inner.Name(), inner
	}
	var jobs []gat.JobID
	for _, m := range made {
		if m.What.Job != "" {
			jobs = append(jobs, gat.JobID(m.What.Job))
		}
	}
	if len(jobs) > 0 {
		if err := h.gat.Cancel(ctx, jobs...); err != nil {
			return err
		}
	}
	dirs := dirsOf(made, p.local)
	if p.local && !slices.ContainsFunc(dirs, func(d dirMade) bool { return d.base != "" }) {
		return removeLocal(made)
	}
	var errs []error
	for _, d := range dirs {
		if h.Base = d.base; d.below != "" {
			h.scratch = d.below
		}
		left, err := h.clean(ctx, wire.SessionID(run.Name), "", 0)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left behind: %v", left)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// dirMade says where a session's directory is, or where it has to be looked for.
type dirMade struct {
	base  string // the directory that holds it; empty when that is not known
	below string // the scratch directory it may be in then; empty for the usual ones
}

// dirsOf lists where sessions' directories are by the ledger's entries. Where none was
// written down there may be one all the same.
func dirsOf(made []Made, local bool) (dirs []dirMade) {
	for _, m := range made {
		if m.Kind != KindDir {
			continue
		}
		d := dirMade{below: m.What.Path}
		if m.Confirmed {
			d = dirMade{base: parentOf(m.What.Path, local)}
		}
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	if len(dirs) == 0 {
		dirs = append(dirs, dirMade{})
	}
	return dirs
}

// parentOf is the directory that holds a session's directory.
func parentOf(dir string, local bool) string {
	if local {
		return filepath.Dir(dir)
	}
	i := len(dir) - 1
	for i > 0 && dir[i] != '/' {
		i--
	}
	return dir[:max(i, 1)]
}

// removeLocal removes directories that may have been made on this machine.
func removeLocal(made []Made) error {
	var errs []error
	for _, m := range made {
		if m.Kind != KindDir || m.What.Path == "" {
			continue
		}
		if err := os.RemoveAll(m.What.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		os.Remove(filepath.Dir(m.What.Path)) // only when it is empty
	}
	return errors.Join(errs...)
}
