package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// sites reads the sites file, or returns the built-in local site, with the
// backends that reach the sites.
func sites(flag string, names []string) ([]*launcher.Site, []gat.Backend, error) {
	path, ok := launcher.FindSites(flag)
	if !ok {
		some, err := launcher.SelectSites([]*launcher.Site{launcher.LocalSite()}, names)
		return some, all.Registry(), err
	}
	file, backends, err := readSites(path)
	if err != nil {
		return nil, nil, err
	}
	some, err := launcher.SelectSites(file.List, names)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return some, backends, nil
}

// readSites reads a sites file. The backends are those there are and those that the
// file itself describes.
func readSites(path string) (*launcher.Sites, []gat.Backend, error) {
	backends := all.Registry()
	file, err := launcher.ReadSites(path, launcher.SitesRules{
		Dialect: func(d launcher.Dialect) error {
			if i := slices.IndexFunc(backends, func(b gat.Backend) bool { return slices.Contains(b.Schemes(), d.Name+"+ssh") }); i >= 0 {
				return fmt.Errorf("there is a dialect of that name already; write another")
			}
			more, err := all.Custom(backends, batch.CustomConfig{Name: d.Name, Submit: d.Submit, Status: d.Status, Cancel: d.Cancel, ID: d.ID, Job: d.Job,
				States: d.States, Array: d.Array, Task: d.Task, Directives: d.Directives, Env: d.Env})
			backends = append(backends, more...)
			return err
		},
		URL:  func(u *url.URL) error { return checkURL(backends, u) },
		Site: func(s *launcher.Site) error { return checkQueue(backends, s) },
	})
	return file, backends, err
}

// checkQueue says what a queueing system cannot be asked for, before anybody asks.
func checkQueue(backends []gat.Backend, s *launcher.Site) error {
	for _, u := range s.URLs {
		i := slices.IndexFunc(backends, func(b gat.Backend) bool { return slices.Contains(b.Schemes(), u.Scheme) })
		r, ok := backends[i].(gat.Renderer)
		if !ok {
			continue
		}
		spec := s.PilotJob("", s.PilotCount())
		spec.Argv = []string{"/bin/true"}
		_, err := r.Render(u, spec)
		if e, ok := errors.AsType[*gat.Error](err); ok {
			if e.Hint != "" {
				return fmt.Errorf("%w (%s)", e.Err, e.Hint)
			}
			return e.Err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkURL says what is wrong with a site's URL.
func checkURL(backends []gat.Backend, u *url.URL) error {
	var known []string
	for _, b := range backends {
		if slices.Contains(b.Schemes(), u.Scheme) {
			return b.Check(u)
		}
		known = append(known, b.Schemes()...)
	}
	slices.Sort(known)
	return fmt.Errorf("%q has the unknown scheme %q; known are %s", u.Redacted(), u.Scheme, strings.Join(known, ", "))
}
