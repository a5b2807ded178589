package main

import "golang.org/x/sys/unix"

const (
	getTermios      = unix.TCGETS
	setTermiosFlush = unix.TCSETSF
)

// awaitInput waits until one of two files can be read.
func awaitInput(a, b int) error {
	files := []unix.PollFd{{Fd: int32(a), Events: unix.POLLIN}, {Fd: int32(b), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(files, -1); err != unix.EINTR {
			return err
		}
	}
}
