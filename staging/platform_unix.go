//go:build unix

package staging

import (
	"errors"
	"os"
	"syscall"
)

// readFlags open a file for reading; should it have become a named pipe, the
// call does not wait for a writer.
const readFlags = os.O_RDONLY | syscall.O_NONBLOCK

// noSpace reports whether an error says that a disk or a quota is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
