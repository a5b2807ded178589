//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package main

import (
	"bufio"
	"context"
	"os"

	"golang.org/x/term"
)

// readAnswer reads a line from a terminal and closes it. A secret is not shown.
// Reading a console cannot be broken off: when ctx ends first, the console is put
// right, and the reader takes the next line that is typed and forgets it.
func readAnswer(ctx context.Context, in, out *os.File, secret bool) (string, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		in.Close()
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	c := make(chan answer, 1)
	go func() {
		defer in.Close()
		if secret {
			text, err := term.ReadPassword(fd)
			out.WriteString("\n")
			c <- answer{string(text), err}
			return
		}
		text, err := bufio.NewReader(in).ReadString('\n')
		c <- answer{text, err}
	}()
	select {
	case got := <-c:
		return got.text, got.err
	case <-ctx.Done():
		term.Restore(fd, before)
		return "", ctx.Err()
	}
}
