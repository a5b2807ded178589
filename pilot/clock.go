package pilot

import "time"

// processStart is the origin of the monotonic clock where there is no other.
var processStart = time.Now()
