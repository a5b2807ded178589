package slurm

import (
	_ "embed"
	"errors"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// Texts for sh that others at the host submit, follow and cancel jobs by.
var (
	//go:embed growstatus.sh
	growStatus string
	//go:embed growcancel.sh
	growCancel string
)

var growing = &batch.Growing{
	ID:     `sed -n -e 's/^\([1-9][0-9]*\)$/\1/p' -e 's/.*Submitted batch job \([1-9][0-9]*\).*/\1/p'`,
	Status: growStatus,
	Cancel: growCancel,
	Refuse: func(spec gat.JobSpec) error {
		if slices.ContainsFunc(spec.Resources.Native, namesCluster) {
			return errors.New("jobs of other clusters are not followed")
		}
		return nil
	},
}

// namesCluster reports whether a flag names a cluster; then identifiers have its name.
func namesCluster(flag string) bool {
	return strings.HasPrefix(flag, "-M") || strings.Contains(flag, "--cluster")
}
