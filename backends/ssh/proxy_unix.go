//go:build unix

package ssh

import (
	"os"
	"os/exec"
	"syscall"
)

// shellCommand makes a command of the user's shell that becomes the given one, in
// a session of its own: what interrupts us must not end our connections before
// we do, and there is nobody at a terminal to answer it.
func shellCommand(command string) *exec.Cmd {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell, "-c", "exec "+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// killGroup kills a started command and what it started.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it may have ended
