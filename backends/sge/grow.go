package sge

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
	ID:     `sed -n -e 's/^\([1-9][0-9]*\)$/\1/p' -e 's/.*Your job \([1-9][0-9]*\) (.*/\1/p'`,
	Status: growStatus,
	Cancel: growCancel,
}
