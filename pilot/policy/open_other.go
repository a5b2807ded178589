//go:build !unix

package policy

import "io/fs"

const openNoWait = 0

var errNotDir = fs.ErrNotExist
