package pbs

import (
	_ "embed"

	"github.com/zorilla-grid/zorilla/backends/batch"
)

// Texts for sh that others at the host submit, follow and cancel jobs by.
var (
	//go:embed growstatus.sh
	growStatus string
	//go:embed growcancel.sh
	growCancel string
)

var growing = &batch.Growing{
	ID:     `sed -n 's/^\([0-9][0-9]*\.[A-Za-z0-9][A-Za-z0-9_.-]*\)$/\1/p'`,
	Status: statusText + growStatus,
	Cancel: growCancel,
}
