package flood

import (
	"math/bits"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// PerWorker returns how many slots of an offer a worker with such needs takes;
// false means that it does not fit at all.
func PerWorker(o *wire.Offer, needs *wire.Requirements) (int, bool) {
	n := int64(o.Slots)
	if n == 0 {
		return 0, false
	}
	per := int64(1)
	share := func(need, have int64) bool {
		if need == 0 {
			return true
		}
		if need > have {
			return false
		}
		per = max(per, ceil(need, have, n))
		return true
	}
	// An offer that does not say how much there is of cores, memory or disk is
	// taken at one core a slot, and at its word that there is enough.
	cores := int64(o.Cores)
	if cores == 0 {
		cores = n
	}
	ok := share(int64(needs.Cores), cores) && share(int64(needs.GPUs), int64(o.GPUs)) &&
		(o.Memory == 0 || share(needs.Memory, o.Memory)) &&
		(o.Disk == 0 || share(needs.Disk, o.Disk))
	return int(per), ok
}

// ceil returns need/(have/n) rounded up, without overflow: need <= have <= 2^50, n <= 2^12.
func ceil(need, have, n int64) int64 { return (need*n + have - 1) / have }

// Lasts reports whether slots that are there for the time left are there for as
// long as a worker needs them; times of 0 are not known.
func Lasts(needs *wire.Requirements, left time.Duration) bool {
	return needs.Walltime == 0 || left == 0 || left >= needs.Walltime
}

// About returns what is told in a table of the time for which slots are there,
// rounded down to one of two in an octave, so that a table does not change all
// the time.
func About(left time.Duration) time.Duration {
	if left == 0 {
		return 0
	}
	s := int64(max(left, time.Second) / time.Second)
	shift := max(bits.Len64(uint64(s))-2, 0)
	return time.Duration(s>>shift<<shift) * time.Second
}

// Runs reports whether a platform is one of those that are wanted.
func Runs(needs *wire.Requirements, platform string) bool {
	return len(needs.Platforms) == 0 || slices.Contains(needs.Platforms, platform)
}

// Fit returns how many workers with such needs the free slots of a table hold,
// about: slots that are free on different pilots are not one worker's.
func Fit(t *wire.Table, needs *wire.Requirements) int {
	total := 0
	for i := range t.Classes {
		c := &t.Classes[i]
		per, ok := PerWorker(&c.Offer, needs)
		if !ok || !Runs(needs, c.Platform) || !Lasts(needs, c.Left) {
			continue
		}
		if per == 1 {
			total += int(c.Slots)
		} else {
			total += int(c.Pilots) * (int(c.Slots/c.Pilots) / per)
		}
	}
	return min(total, wire.MaxRanks)
}

// Alike returns what is told of an offer in a table: memory and disk to within
// an eighth, rounded down, so that hosts that differ in little are of one class.
func Alike(o wire.Offer) wire.Offer {
	o.Memory, o.Disk = round(o.Memory), round(o.Disk)
	return o
}

// round keeps the four highest bits.
func round(v int64) int64 {
	shift := 0
	for v>>shift >= 16 {
		shift++
	}
	return v >> shift << shift
}
