package worker

import (
	"os"
	"runtime"

	"golang.org/x/sys/windows"
)

func measure() Capacity { return Capacity{Cores: runtime.NumCPU()} }

func diskFree(path string) (int64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(min(free, 1<<62)), nil
}
