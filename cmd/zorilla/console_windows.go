package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepareConsole lets a console understand the sequences that move the cursor and
// choose colours, and reports whether it does: those before Windows 10 do not.
func prepareConsole(f *os.File) bool {
	var mode uint32
	h := windows.Handle(f.Fd())
	if windows.GetConsoleMode(h, &mode) != nil {
		return false
	}
	const sequences = windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	return mode&sequences == sequences || windows.SetConsoleMode(h, mode|sequences) == nil
}

// dumb reports whether the terminal is known to understand no sequences. A
// console sets no TERM.
func dumb() bool { return os.Getenv("TERM") == "dumb" }
