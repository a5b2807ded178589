//go:build !unix

package pilot

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

const (
	openNoFollow = 0
	openNoWait   = 0
	canCheckMode = false
)

// lockFile does nothing where files cannot be locked portably: agents there
// have a session directory of their own.
func lockFile(*os.File, bool) error { return nil }

func isLocked(error) bool { return false }

func ownerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }

// isRefused reports whether nobody listens on a socket that is there.
func isRefused(err error) bool {
	const wsaeConnRefused = syscall.Errno(10061)
	return errors.Is(err, wsaeConnRefused)
}

func warnings() []os.Signal { return nil }

func inGroup(*exec.Cmd) {}
