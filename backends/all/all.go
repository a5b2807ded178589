// Package all lists the backends, one explicit line each. Only the programs'
// main packages import it, so that nothing else depends on every backend's
// libraries.
package all

import (
	"os"

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

// Registry returns all backends, each serving URL schemes of its own.
func Registry() []gat.Backend {
	all := shells()
	for _, d := range []*batch.Dialect{slurm.Dialect(), sge.Dialect(), pbs.Dialect(), prun.Dialect()} {
		all = append(all, over(d)...)
	}
	return all
}

// shells returns the backends that log in to a host and no more.
func shells() []gat.Backend {
	self, err := os.Executable()
	if err != nil {
		self = "" // then ssh can ask nobody
	}
	return []gat.Backend{local.Backend{}, ssh.Backend{}, openssh.Backend{Self: self}}
}

// over returns the backends that speak a dialect over each shell.
func over(d *batch.Dialect) []gat.Backend {
	var all []gat.Backend
	for _, shell := range shells() {
		all = append(all, batch.New(d, shell))
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
