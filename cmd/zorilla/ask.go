package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/term"
)

// errNoTerminal is the answer when nobody can be asked.
var errNoTerminal = errors.New("there is no terminal to ask on")

// asker puts questions to the user on the terminal, one at a time, while the live
// view is away.
type asker struct {
	screen *screen
	open   func() (in, out *os.File, err error) // the terminal
	turn   sync.Mutex
	closed chan struct{}
	once   sync.Once
}

func newAsker(s *screen) *asker {
	return &asker{screen: s, open: openTerminal, closed: make(chan struct{})}
}

// Ask puts one question, see [launcher.Options].
func (a *asker) Ask(site, question string, secret bool) (string, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	select {
	case <-a.closed:
		return "", errNoTerminal
	default:
	}
	in, out, err := a.open()
	if err != nil {
		return "", errNoTerminal
	}
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		in.Close()
		out.Close()
		return "", errNoTerminal
	}
	a.screen.Pause()
	defer a.screen.Resume()

	fmt.Fprintf(out, "site %s: %s ", site, strings.TrimRight(question, " "))
	type answer struct {
		text string
		err  error
	}
	// Reading a terminal cannot be broken off: when the run ends first, the
	// terminal is put right and the reader ends with the program.
	c := make(chan answer, 1)
	go func() {
		var text []byte
		var err error
		if secret {
			text, err = term.ReadPassword(fd)
			fmt.Fprintln(out)
		} else {
			text, err = bufio.NewReader(in).ReadBytes('\n')
		}
		c <- answer{strings.TrimRight(string(text), "\r\n"), err}
		in.Close()
		out.Close()
	}()
	select {
	case got := <-c:
		return got.text, got.err
	case <-a.closed:
		term.Restore(fd, before)
		return "", errors.New("the question was withdrawn")
	}
}

// Close withdraws a question that is being asked and refuses more.
func (a *asker) Close() {
	a.once.Do(func() { close(a.closed) })
	a.turn.Lock() // the terminal is as it was once the question is gone
	a.turn.Unlock()
}

// openTerminal opens the terminal whatever standard input and output are.
func openTerminal() (in, out *os.File, err error) {
	inName, outName := "/dev/tty", "/dev/tty"
	if runtime.GOOS == "windows" {
		inName, outName = "CONIN$", "CONOUT$"
	}
	if in, err = os.OpenFile(inName, os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile(outName, os.O_WRONLY, 0); err != nil {
		in.Close()
		return nil, nil, err
	}
	return in, out, nil
}
