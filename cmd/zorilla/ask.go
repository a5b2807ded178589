package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// errNoTerminal is the answer when nobody can be asked.
var errNoTerminal = errors.New("there is no terminal to ask on")

// errWithdrawn is the answer to a question that is of no use any more.
var errWithdrawn = errors.New("the question was withdrawn")

// asker puts questions to the user on the terminal, one at a time, while the live
// view is away.
type asker struct {
	screen *screen
	open   func() (in, out *os.File, err error) // the terminal
	turn   chan struct{}                        // held while a question is put
	life   context.Context                      // ends with Close
	end    context.CancelFunc
}

func newAsker(s *screen) *asker {
	a := &asker{screen: s, open: openTerminal, turn: make(chan struct{}, 1)}
	a.life, a.end = context.WithCancel(context.Background())
	return a
}

// Ask puts one question, see [launcher.Options]. It is withdrawn when ctx ends.
func (a *asker) Ask(ctx context.Context, site, question string, secret bool) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return "", errWithdrawn
	}
	defer func() { <-a.turn }()
	if a.life.Err() != nil {
		return "", errNoTerminal
	}
	in, out, err := a.open()
	if err != nil {
		return "", errNoTerminal
	}
	defer out.Close()
	if !term.IsTerminal(int(in.Fd())) {
		in.Close()
		return "", errNoTerminal
	}
	a.screen.Pause()
	defer a.screen.Resume()
	fmt.Fprintf(out, "site %s: %s ", site, strings.TrimRight(question, " "))
	text, err := readAnswer(ctx, in, out, secret)
	if ctx.Err() != nil && err != nil {
		fmt.Fprintln(out)
		return "", errWithdrawn
	}
	return strings.TrimRight(text, "\r\n"), err
}

// Close withdraws a question that is being asked and refuses more.
func (a *asker) Close() {
	a.end()
	a.turn <- struct{}{} // the terminal is as it was once the question is gone
	<-a.turn
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
