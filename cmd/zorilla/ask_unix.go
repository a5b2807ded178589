//go:build linux || darwin || freebsd || netbsd || openbsd

package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readAnswer reads a line from a terminal and closes it, until ctx ends: nothing
// that is typed afterwards is lost to a question that is gone. A secret is not
// shown. The terminal is then as it was.
func readAnswer(ctx context.Context, in, out *os.File, secret bool) (string, error) {
	defer in.Close()
	fd := int(in.Fd())
	wake, end, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer wake.Close()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		end.Close()
		close(ended)
	})
	defer func() {
		if stop() {
			end.Close()
			return
		}
		<-ended
	}()
	if secret {
		before, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			return "", err
		}
		hidden := *before
		hidden.Lflag &^= unix.ECHO
		hidden.Lflag |= unix.ICANON | unix.ISIG
		hidden.Iflag |= unix.ICRNL
		// What was typed before the question was no answer to it.
		if err := unix.IoctlSetTermios(fd, setTermiosFlush, &hidden); err != nil {
			return "", err
		}
		defer func() {
			unix.IoctlSetTermios(fd, setTermiosFlush, before)
			if ctx.Err() == nil {
				out.WriteString("\n")
			}
		}()
	}
	var line []byte
	piece := make([]byte, 1024)
	for {
		if err := awaitInput(fd, int(wake.Fd())); err != nil {
			return "", err
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := unix.Read(fd, piece)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return "", err
		case n == 0:
			return "", io.EOF
		}
		line = append(line, piece[:n]...)
		if line[len(line)-1] == '\n' {
			return string(line), nil
		}
	}
}
