package ssh

import (
	"os"
	"os/exec"
	"syscall"
)

// shellCommand makes a command that cmd.exe runs, away from the console and its
// Ctrl-C.
func shellCommand(command string) *exec.Cmd {
	shell := os.Getenv("ComSpec")
	if shell == "" {
		shell = "cmd.exe"
	}
	const createNoWindow = 0x08000000
	cmd := exec.Command(shell)
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `"` + shell + `" /d /s /c "` + command + `"`,
		CreationFlags: createNoWindow | syscall.CREATE_NEW_PROCESS_GROUP}
	return cmd
}

// killGroup kills a started command. What it started ends with its input.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() } // it may have ended
