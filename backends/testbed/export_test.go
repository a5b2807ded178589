package testbed

// Start starts a farm without a test to end it.
var Start = start

// NoLeftoversWithin is NoLeftovers for tests that expect it to fail.
var NoLeftoversWithin = (*Host).noLeftoversWithin
