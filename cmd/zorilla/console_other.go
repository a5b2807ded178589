//go:build !windows

package main

import "os"

// prepareConsole reports whether a terminal understands the sequences that
// move the cursor, see dumb.
func prepareConsole(*os.File) bool { return true }

// dumb reports whether the terminal is known to understand no sequences.
func dumb() bool { return os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" }
