package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Process is a process of a host.
type Process struct {
	PID     int    // within the host
	User    string // effective user
	Command string // command line, arguments separated by spaces

	sshd    bool
	sockets []string // inode numbers
}

// String is the process for people: one line, not too long.
func (p Process) String() string {
	const most = 160
	command := strings.Join(strings.Fields(p.Command), " ")
	if len(command) > most {
		command = command[:most] + "..."
	}
	return fmt.Sprintf("%d of %s: %s", p.PID, p.User, command)
}

// Processes returns the processes of the host, of all users, whose command
// line contains the substring, by number. Dead ones that wait for their
// parents are left out.
func (h *Host) Processes(ctx context.Context, substring string) ([]Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found []Process
	err := h.inside(func() error {
		all, err := processes()
		for _, p := range all {
			if strings.Contains(p.Command, substring) {
				found = append(found, p)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", h.Name, err)
	}
	return found, nil
}

// processes lists the processes of a host. It runs inside the host.
func processes() ([]Process, error) {
	sshd, err := os.Stat(sshdProgram)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(pid, sshd)
		if errors.Is(err, errDead) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

var errDead = errors.New("process is dead")

func readProcess(pid int, sshd os.FileInfo) (Process, error) {
	p := Process{PID: pid}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, err
	}
	var name string
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		switch key {
		case "Name":
			name = value
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return p, errDead
			}
		case "Uid":
			ids := strings.Fields(value) // real, effective, saved, file system
			if len(ids) < 2 {
				return p, fmt.Errorf("process %d: bad status line %q", pid, line)
			}
			uid, err := strconv.ParseUint(ids[1], 10, 32)
			if err != nil {
				return p, fmt.Errorf("process %d: %w", pid, err)
			}
			p.User = userName(uint32(uid))
		}
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return p, err
	}
	p.Command = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
	if p.Command == "" {
		p.Command = "[" + name + "]"
	}
	// A program can call itself sshd; the file it runs does not lie.
	exe, err := os.Stat(filepath.Join(dir, "exe"))
	if err != nil {
		return p, err
	}
	p.sshd = os.SameFile(exe, sshd)
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return p, err
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			p.sockets = append(p.sockets, strings.TrimSuffix(inode, "]"))
		}
	}
	return p, nil
}
