package worker

import (
	"fmt"
	"os"
)

// GuardMainOld is a guard as on a kernel without process descriptors.
func GuardMainOld(args []string) int {
	if err := guardMain(args, false); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 1
	}
	return 0
}

// GuardPIDs returns the process ids of the live guards.
func (y *Yard) GuardPIDs() []int {
	y.keep.mu.Lock()
	defer y.keep.mu.Unlock()
	var pids []int
	for pid := range y.keep.guards {
		pids = append(pids, pid)
	}
	return pids
}

// CgroupLimits reads limits from files that are given instead of the system's.
func CgroupLimits(files map[string]string, self string) (cores float64, memory, used int64) {
	l := cgroups(func(name string) ([]byte, error) {
		if s, ok := files[name]; ok {
			return []byte(s), nil
		}
		return nil, os.ErrNotExist
	}, self)
	return l.cores, l.memory, l.used
}
