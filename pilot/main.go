package pilot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/policy"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

const usage = `zorilla-pilot is started by zorilla on the machines it uses.

usage: zorilla-pilot agent SESSION BOOTFILE   lives as a pilot or hub; "-" reads the boot record from standard input
       zorilla-pilot attach SOCKET            connects standard input and output to an agent's socket
       zorilla-pilot version

"zorilla gc" removes whatever a run has left behind.
`

// Main is the agent's program: args are its arguments, the name of the program
// first. It returns the exit status.
func Main(args []string) int { return mainUnder(policy.Path, args) }

// mainUnder is Main on a host with a policy, if there is such a file.
func mainUnder(path string, args []string) int {
	if len(args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	var err error
	switch command, rest := args[1], args[2:]; {
	case command == "guard":
		return worker.GuardMain(rest)
	case command == "warden" && len(rest) == 2:
		settleIn()
		err = wardenMain(os.Stdin, rest[0], rest[1])
	case command == "agent" && len(rest) == 2:
		err = agentMain(path, args[0], rest[0], rest[1])
	case command == "attach" && len(rest) == 1:
		err = attach(context.Background(), rest[0], os.Stdin, os.Stdout)
	case command == "version" && len(rest) == 0:
		fmt.Println("zorilla-pilot", Version())
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "zorilla-pilot:", err)
		if errors.Is(err, errNoAgent) {
			return ExitNoAgent
		}
		if _, ok := errors.AsType[*Denial](err); ok {
			return ExitDenied
		}
		return 1
	}
	return 0
}

// agentMain runs an agent. The session's name is an argument so that a list of
// processes tells which session an agent belongs to; it is no secret.
func agentMain(policy, self, session, bootFile string) error {
	// An agent idles most of its life on a machine that is not ours.
	debug.SetGCPercent(50)
	boot, err := readBootFrom(bootFile)
	if err != nil {
		return err
	}
	if boot.Session != wire.SessionID(session) {
		return fmt.Errorf("the boot record is for session %s, not %s", boot.Session, session)
	}
	program, err := ourselves(self)
	if err != nil {
		return err
	}
	if bootFile != "-" && !boot.Keep {
		if err := leaveNothing(bootFile); err != nil {
			return err
		}
	}
	return reside(context.Background(), boot, policy, self, program)
}

// readBootFrom reads the boot record from standard input ("-") or a file, which must
// be ours alone and is removed unless others are to read it, too.
func readBootFrom(name string) (*Boot, error) {
	if name == "-" {
		return readBootSoon(os.Stdin)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|openNoFollow|openNoWait, 0)
	if err != nil {
		return nil, fmt.Errorf("boot file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("boot file: %w", err)
	}
	if uid, ok := ownerOf(info); !info.Mode().IsRegular() || ok && uid != os.Getuid() || canCheckMode && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("boot file %s is not a file of ours alone (mode %04o)", name, info.Mode().Perm())
	}
	boot, err := ReadBoot(f)
	if err == nil && boot.Keep {
		return boot, nil
	}
	if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		return nil, fmt.Errorf("boot file: %w", rerr)
	}
	return boot, err
}

// bootPatience is how long an agent waits for its boot record on a pipe.
const bootPatience = time.Minute

// readBootSoon reads the boot record from a pipe and closes it. After an error the
// program is expected to end: a read may still be waiting.
func readBootSoon(pipe io.ReadCloser) (*Boot, error) {
	type result struct {
		boot *Boot
		err  error
	}
	read := make(chan result, 1)
	go func() {
		defer pipe.Close()
		boot, err := ReadBoot(pipe)
		read <- result{boot, err}
	}()
	select {
	case r := <-read:
		return r.boot, r.err
	case <-time.After(bootPatience):
		return nil, fmt.Errorf("read boot record: nothing came for %v", bootPatience)
	}
}

// Version is the version of this program, as the build recorded it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
