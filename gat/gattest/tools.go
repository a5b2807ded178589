package gattest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// The tools that the suite runs at a site. [Shell] implements them for any
// Unix; a site in memory implements them itself.
const (
	ToolArgs   = "args"   // args A...: prints each argument and a NUL byte
	ToolEnv    = "env"    // env NAME: prints a variable's value, or "unset"
	ToolPwd    = "pwd"    // pwd: prints the working directory and a newline
	ToolCat    = "cat"    // cat: copies its input to its output
	ToolSplit  = "split"  // split A B: prints A to the output, B to the error output
	ToolExit   = "exit"   // exit N: ends with status N
	ToolSignal = "signal" // signal N: ends itself by signal N
	ToolSleep  = "sleep"  // sleep: does nothing for a long time
	ToolHold   = "hold"   // hold FILE: copies its input to FILE, then sleeps
	ToolSave   = "save"   // save FILE: copies its input to FILE
	ToolTree   = "tree"   // tree: starts a child in the background, then sleeps
	ToolEscape = "escape" // escape: like tree, and one more that is orphaned and in a session of its own
	ToolMode   = "mode"   // mode FILE: prints its type and permissions as ls does, "-rw-r--r--"
	ToolMkdir  = "mkdir"  // mkdir DIR: makes a directory
	ToolList   = "list"   // list DIR: prints the names in DIR, one a line
)

var scripts = map[string]string{
	ToolArgs:   `for a; do printf '%s\0' "$a"; done`,
	ToolEnv:    `eval "printf %s \"\${$1-unset}\""`,
	ToolPwd:    `pwd -P`,
	ToolCat:    `exec cat`,
	ToolSplit:  `printf %s "$1"; printf %s "$2" >&2`,
	ToolExit:   `exit "$1"`,
	ToolSignal: `kill -"$1" $$`,
	ToolSleep:  `exec sleep 1000`,
	ToolHold:   `cat >"$1"; exec sleep 1000`,
	ToolSave:   `exec cat >"$1"`,
	ToolTree:   `sleep 1000 & sleep 1000`,
	ToolEscape: `sleep 1000 & (setsid sleep 1000 </dev/null >/dev/null 2>&1 &); sleep 1000`,
	ToolMode:   `ls -ld "$1" | cut -c1-10`,
	ToolMkdir:  `mkdir "$1"`,
	ToolList:   `ls -A "$1"`,
}

// Shell returns the argument list that runs a tool by /bin/sh. It is the
// default of Harness.Tool.
func Shell(tool string, args ...string) []string {
	script, ok := scripts[tool]
	if !ok {
		panic(fmt.Sprintf("gattest: no tool %q", tool))
	}
	return append([]string{"/bin/sh", "-c", script, tool}, args...)
}

// Processes returns a description of each live process on this machine whose
// argument list or environment contains text, for Harness.Find. It reads /proc,
// so it works on Linux only and sees processes of other users only as root;
// processes in inner pid namespaces are seen too.
func Processes(text string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		argv, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(dir + "/environ") // empty for zombies
		if bytes.Contains(argv, []byte(text)) || bytes.Contains(environ, []byte(text)) {
			found = append(found, fmt.Sprintf("%s: %q", filepath.Base(dir), bytes.ReplaceAll(argv, []byte{0}, []byte{' '})))
		}
	}
	return found
}
