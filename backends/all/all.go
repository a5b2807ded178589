// Package all lists the backends, one explicit line each. Only the programs'
// main packages import it, so that nothing else depends on every backend's
// libraries.
package all

import (
	"os"
	"slices"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/openssh"
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// Role does what this program has to do when it was started by a backend's
// helper rather than by a user, such as by ssh to ask something, and reports whether it
// was and the status to exit with. A program that uses the [Registry] calls it
// first of all.
func Role() (status int, played bool) { return openssh.Role() }

// Registry returns all backends, each serving URL schemes of its own. Those of one
// registry share the keys that the user unlocks: a session has one.
func Registry() []gat.Backend {
	self, err := os.Executable()
	if err != nil {
		self = "" // then ssh can ask nobody
	}
	all := []gat.Backend{local.Backend{}, ssh.Backend{Shared: ssh.NewShared()}, openssh.Backend{Self: self}}
	shells := slices.Clone(all)
	for _, d := range []*batch.Dialect{slurm.Dialect(), sge.Dialect(), pbs.Dialect(), prun.Dialect()} {
		for _, shell := range shells {
			all = append(all, batch.New(d, shell))
		}
	}
	return all
}

// CustomConfig describes a queueing system in texts.
type CustomConfig = batch.CustomConfig

// Custom returns the backends for a queueing system that is described in texts, over
// the shells of a registry. See [batch.Custom] for its errors.
func Custom(registry []gat.Backend, cfg CustomConfig) ([]gat.Backend, error) {
	d, err := batch.Custom(cfg)
	if err != nil {
		return nil, err
	}
	var backends []gat.Backend
	for _, b := range registry {
		if _, queue := b.(gat.Renderer); !queue {
			backends = append(backends, batch.New(d, b))
		}
	}
	return backends, nil
}
