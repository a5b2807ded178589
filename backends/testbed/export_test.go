package testbed

import "context"

// Start starts a farm without a test to end it.
var Start = start

// StartWAN starts a WAN without a test to end it.
func StartWAN(ctx context.Context, places []Place) (*WAN, error) { return startWAN(ctx, places) }

// NoLeftoversWithin is NoLeftovers for tests that expect it to fail.
var NoLeftoversWithin = (*Host).noLeftoversWithin
