package worker

import (
	"bytes"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func measure() Capacity {
	c := Capacity{Cores: runtime.NumCPU()} // which counts the affinity at the start of this process
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil && set.Count() > 0 {
		c.Cores = set.Count()
	}
	c.Machine = c.Cores
	if b, err := os.ReadFile("/sys/devices/system/cpu/online"); err == nil {
		c.Machine = max(c.Machine, countCPUs(string(b)))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		c.Memory = meminfo(b, "MemTotal:")
		c.MemoryFree = meminfo(b, "MemAvailable:")
		if c.MemoryFree == 0 { // before Linux 3.14
			c.MemoryFree = meminfo(b, "MemFree:") + meminfo(b, "Cached:")
		}
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return c
	}
	g := cgroups(os.ReadFile, string(b))
	if g.cores > 0 {
		c.Cores = max(1, min(c.Cores, int(math.Floor(g.cores))))
	}
	if g.memory > 0 && (c.Memory == 0 || g.memory < c.Memory) {
		c.Memory, c.MemoryLimited = g.memory, true
		c.MemoryFree = min(c.MemoryFree, max(0, g.memory-g.used))
	}
	return c
}

// countCPUs counts the processors in a list such as "0-3,8".
func countCPUs(list string) int {
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && b >= a {
			n += b - a + 1
		}
	}
	return n
}

// meminfo reads one line of /proc/meminfo, in bytes.
func meminfo(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseInt(string(f[0]), 10, 64)
				return n << 10
			}
		}
	}
	return 0
}

// limits are what control groups allow; zero stands for no limit.
type limits struct {
	cores        float64
	memory, used int64 // bytes
}

// cgroups reads the limits of the groups that /proc/self/cgroup names and of
// all above them, at the usual places of version 2 and 1.
func cgroups(read func(string) ([]byte, error), self string) limits {
	var l limits
	number := func(file string) (int64, bool) {
		b, err := read(file)
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n, err == nil && n > 0 && n < 1<<60 // version 1 writes a huge number for none
	}
	memory := func(limit, used string) {
		if n, ok := number(limit); ok && (l.memory == 0 || n < l.memory) {
			l.memory = n
			l.used, _ = number(used)
		}
	}
	cores := func(quota, period float64) {
		if n := quota / period; quota > 0 && period > 0 && (l.cores == 0 || n < l.cores) {
			l.cores = n
		}
	}
	for line := range strings.Lines(self) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			switch {
			case f[1] == "":
				for _, base := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
					at := base + dir
					if b, err := read(at + "/cpu.max"); err == nil {
						if q, p, ok := strings.Cut(strings.TrimSpace(string(b)), " "); ok {
							quota, e1 := strconv.ParseFloat(q, 64)
							period, e2 := strconv.ParseFloat(p, 64)
							if e1 == nil && e2 == nil {
								cores(quota, period)
							}
						}
					}
					memory(at+"/memory.max", at+"/memory.current")
				}
			case has(f[1], "cpu"):
				at := "/sys/fs/cgroup/" + f[1] + dir
				if quota, ok := number(at + "/cpu.cfs_quota_us"); ok {
					period, _ := number(at + "/cpu.cfs_period_us")
					cores(float64(quota), float64(period))
				}
			case has(f[1], "memory"):
				at := "/sys/fs/cgroup/" + f[1] + dir
				memory(at+"/memory.limit_in_bytes", at+"/memory.usage_in_bytes")
			}
			if dir == "/" {
				break
			}
		}
	}
	return l
}

func has(list, controller string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == controller {
			return true
		}
	}
	return false
}

func diskFree(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
