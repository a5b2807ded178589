// Package all lists the backends, one explicit line each. Only the programs'
// main packages import it, so that nothing else depends on every backend's
// libraries.
package all

import (
	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// Registry returns all backends, each serving URL schemes of its own.
func Registry() []gat.Backend {
	return []gat.Backend{
		local.Backend{},
		ssh.Backend{},
		batch.New(slurm.Dialect(), local.Backend{}),
		batch.New(slurm.Dialect(), ssh.Backend{}),
		batch.New(sge.Dialect(), local.Backend{}),
		batch.New(sge.Dialect(), ssh.Backend{}),
		batch.New(pbs.Dialect(), local.Backend{}),
		batch.New(pbs.Dialect(), ssh.Backend{}),
		batch.New(prun.Dialect(), local.Backend{}),
		batch.New(prun.Dialect(), ssh.Backend{}),
	}
}

// CustomConfig describes a queueing system in texts.
type CustomConfig = batch.CustomConfig

// Custom returns the backends for a queueing system that is described in texts, over
// the same shells as the others. See [batch.Custom] for its errors.
func Custom(cfg CustomConfig) ([]gat.Backend, error) {
	d, err := batch.Custom(cfg)
	if err != nil {
		return nil, err
	}
	return []gat.Backend{batch.New(d, local.Backend{}), batch.New(d, ssh.Backend{})}, nil
}
