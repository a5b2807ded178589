//go:build !unix

package staging

import (
	"errors"
	"os"
	"syscall"
)

// readFlags open a file for reading.
const readFlags = os.O_RDONLY

// noSpace reports whether an error says that a disk is full.
func noSpace(err error) bool {
	const handleDiskFull, diskFull = syscall.Errno(39), syscall.Errno(112) // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
	return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull)
}
