package local

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// startTime returns the start time of a live process, in microseconds.
func startTime(pid int) (uint64, bool) {
	const zombie = 5 // SZOMB
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == zombie {
		return 0, false
	}
	t := info.Proc.P_starttime
	return uint64(t.Sec)*1_000_000 + uint64(t.Usec), true
}

// bootID is not needed where start times are dates.
func bootID() string { return "mac" }

// members returns the live process groups of jobs, as negative numbers.
func members(keys []key) []int {
	var groups []int
	for _, k := range keys {
		if k.alive() && syscall.Kill(-k.pid, 0) == nil {
			groups = append(groups, -k.pid)
		}
	}
	return groups
}
