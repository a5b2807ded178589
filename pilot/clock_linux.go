package pilot

import (
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
