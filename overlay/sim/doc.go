// Package sim is a simulation kernel: a virtual clock with an event heap
// ([Kernel]) and models of the ways between places ([Network], [Lane], [Queue]).
// It knows no protocol.
//
// The one rule to know: everything comes from the seed. Whoever simulates
// draws chance from [Kernel.Rand] only, reads time from [Kernel.Now] only, and
// iterates over no map whose order can be seen; then the same seed gives the
// same [Kernel.Digest], bit for bit.
//
// It is not for real time, nor for more than one goroutine.
package sim
