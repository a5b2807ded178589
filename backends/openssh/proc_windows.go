//go:build windows

package openssh

import (
	"os/exec"
	"syscall"
)

// apart starts cmd so that what interrupts us does not interrupt it.
func apart(cmd *exec.Cmd) {
	const newProcessGroup = 0x200
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: newProcessGroup}
}

// killAll kills a command.
func killAll(cmd *exec.Cmd) { cmd.Process.Kill() }
