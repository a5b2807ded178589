package worker

import (
	"fmt"
	"path/filepath"
)

// Capacity is what a machine lets this process use. Unknown values are zero.
type Capacity struct {
	Cores      int   // after affinity and quota, 1 at least
	Memory     int64 // bytes in all, or the limit set for us if that is less
	MemoryFree int64 // bytes that could be had now without swapping
	Disk       int64 // bytes free to us where the sandboxes are

	Machine       int  // cores that the machine has, ours or not
	MemoryLimited bool // Memory is a limit set for us
}

// MeasureCapacity asks the system. The path tells the disk; it or its parent
// must exist.
func MeasureCapacity(path string) (Capacity, error) {
	c := measure()
	free, err := diskFree(path)
	if err != nil {
		free, err = diskFree(filepath.Dir(path))
	}
	if err != nil {
		return c, fmt.Errorf("free disk space at %s: %w", path, err)
	}
	c.Disk = free
	return c, nil
}

// DiskFree returns how many bytes are free to us where a file or directory is.
func DiskFree(path string) (int64, error) { return diskFree(path) }
