package pilot

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// startWarden starts the warden of an agent by the path of this program and the
// name that processes are to be listed under. What it returns is to be called
// when the agent has removed all that it can. The warden is in a process group
// of its own, for groups are what is killed, but in the agent's session: in
// others the children of an agent are strays.
func startWarden(program, name string, d *sessionDir) (dismiss func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path:        program,
		Args:        []string{name, "warden", d.path, d.me},
		Dir:         "/",
		Env:         []string{"GOMAXPROCS=1"},
		Stdin:       r,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return func() {
		w.Write([]byte{wardenDone}) //nolint:errcheck // one that was killed needs no word
		w.Close()
		late := time.AfterFunc(time.Second, func() { cmd.Process.Kill() }) //nolint:errcheck // gone is as good
		cmd.Wait()                                                         //nolint:errcheck // it is gone: that was the aim
		late.Stop()
	}, nil
}

// settleIn makes this process a warden: the signals by which a job is ended are
// not for it.
func settleIn() {
	worker.SetName(filepath.Base(os.Args[0]))
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGXCPU, unix.SIGPIPE)
}
