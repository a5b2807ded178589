package local

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// detached gives a process a group and no console.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}

// killGroup kills a process with its descendants.
func killGroup(p *os.Process) { signal(p.Pid, true) }

// signal kills a process with its descendants: there is no asking.
func signal(pid int, _ bool) {
	exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(pid)).Run()
}

func exitCode(st *os.ProcessState) int {
	if st == nil {
		return -1
	}
	return st.ExitCode()
}

// startTime returns the start time of a live process, in units of 100 ns.
func startTime(pid int) (uint64, bool) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return 0, false
	}
	defer windows.CloseHandle(h)
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return 0, false
	}
	alive := exited.HighDateTime == 0 && exited.LowDateTime == 0
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime), alive
}

// bootID is not needed where start times are dates.
func bootID() string { return "windows" }

// members returns the live processes of jobs.
func members(keys []key) []int {
	var pids []int
	for _, k := range keys {
		if k.alive() {
			pids = append(pids, k.pid)
		}
	}
	return pids
}
