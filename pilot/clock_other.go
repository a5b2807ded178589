//go:build !linux

package pilot

import "time"

// bootTime is the core's clock. Where the system offers no clock that runs through
// suspend it is the monotonic one.
func bootTime() time.Duration { return time.Since(processStart) }

// startTime is not known without proc(5).
func startTime() string { return "" }
