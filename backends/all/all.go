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

// Registry returns all backends, each serving URL schemes of its own. Those of one
// registry share the keys that the user unlocks: a session has one.
func Registry() []gat.Backend {
	remote := ssh.Backend{Shared: ssh.NewShared()}
	return []gat.Backend{
		local.Backend{},
		remote,
		batch.New(slurm.Dialect(), local.Backend{}),
		batch.New(slurm.Dialect(), remote),
		batch.New(sge.Dialect(), local.Backend{}),
		batch.New(sge.Dialect(), remote),
		batch.New(pbs.Dialect(), local.Backend{}),
		batch.New(pbs.Dialect(), remote),
		batch.New(prun.Dialect(), local.Backend{}),
		batch.New(prun.Dialect(), remote),
	}
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
