//go:build unix

package sshconfig

import (
	"os/exec"
	"syscall"
)

// alone gives a command a session of its own, so that it has no terminal to ask on
// and ends with all it started.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
