package sshconfig

import (
	"os/exec"
	"syscall"
)

// alone keeps a command away from the console and its Ctrl-C. What it started
// outlives it.
func alone(cmd *exec.Cmd) {
	const createNoWindow = 0x08000000
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: createNoWindow | syscall.CREATE_NEW_PROCESS_GROUP}
}
