package local

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// startTime returns the start time of a live process, in clock ticks after the
// boot. Zombies do not count as alive.
func startTime(pid int) (uint64, bool) {
	start, state, ok := stat(pid)
	return start, ok && state != 'Z' && state != 'X'
}

func stat(pid int) (start uint64, state byte, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The second field, the name in parentheses, may contain anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(fields[19], 10, 64) // field 22
	return start, fields[0][0], err == nil
}

// bootID tells this boot of the machine from others.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(text) < 36 {
		return "unknown"
	}
	return strings.ReplaceAll(string(text[:13]), "-", "")
}

// members returns the live processes of jobs: their own, and whoever has
// their mark in the environment.
func members(keys []key) []int {
	var pids []int
	var marks [][]byte
	for _, k := range keys {
		if k.alive() {
			pids = append(pids, k.pid)
		}
		marks = append(marks, []byte(markEnv+"="+k.mark))
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return pids
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || len(environ) == 0 {
			continue // gone, a zombie, or another user's
		}
		for _, mark := range marks {
			if bytes.Contains(environ, mark) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
