package pilot

import (
	"bytes"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the core's clock: CLOCK_BOOTTIME, which runs through suspend, so
// that a machine that slept knows how long it was away.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}

// startTime is when this process was started, in clock ticks since the machine
// was: field 22 of proc(5)'s stat.
func startTime() string {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return ""
	}
	// The second field is the program's name in brackets, and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return string(fields[19])
}
