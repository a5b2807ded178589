package worker

import (
	"runtime"

	"golang.org/x/sys/unix"
)

func measure() Capacity {
	c := Capacity{Cores: runtime.NumCPU(), Machine: runtime.NumCPU()}
	if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
		c.Memory = int64(n)
	}
	return c
}

func diskFree(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
