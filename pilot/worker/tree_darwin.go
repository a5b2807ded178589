package worker

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// tree is a process group.
type tree struct{ pid int }

func (t *tree) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.pid = cmd.Process.Pid
	return nil
}

func (t *tree) terminate() { unix.Kill(-t.pid, unix.SIGTERM) } //nolint:errcheck // dead is as good
func (t *tree) kill()      { unix.Kill(-t.pid, unix.SIGKILL) } //nolint:errcheck // dead is as good
func (t *tree) close()     {}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
