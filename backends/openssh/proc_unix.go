//go:build unix

package openssh

import (
	"os/exec"
	"syscall"
)

// apart starts cmd in a session of its own: it has no terminal to write or ask
// on, and what ends our process group does not end it.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// killAll kills a command that is apart with all that is in its group.
func killAll(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
