//go:build darwin || freebsd || netbsd || openbsd

package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	getTermios      = unix.TIOCGETA
	setTermiosFlush = unix.TIOCSETAF
)

// awaitInput waits until one of two files can be read. Poll knows no terminals on
// some of these systems.
func awaitInput(a, b int) error {
	if max(a, b) >= unix.FD_SETSIZE {
		return errors.New("too many open files to wait for the terminal")
	}
	for {
		var files unix.FdSet
		files.Set(a)
		files.Set(b)
		if _, err := unix.Select(max(a, b)+1, &files, nil, nil, nil); err != unix.EINTR {
			return err
		}
	}
}
