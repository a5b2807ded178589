package gossip

import "time"

// moment is a time by this node's clock in hundredths of a second, half the size
// of a [time.Duration]. Moments go round every 497 days: the age of one that is
// younger than that is right whatever the clock says, and nothing here is kept
// for more than minutes.
type moment uint32

const momentLength = 10 * time.Millisecond

// split returns the last moment that was not after a time, and how long before
// that time it was.
func split(t time.Duration) (moment, time.Duration) {
	rest := t % momentLength
	if rest < 0 {
		rest += momentLength
	}
	return moment((t - rest) / momentLength), rest
}

func momentOf(t time.Duration) moment {
	m, _ := split(t)
	return m
}

// age returns how long ago a moment was: at most a hundredth of a second more
// than the time was that it stands for.
func (m moment) age(now time.Duration) time.Duration {
	at, rest := split(now)
	return time.Duration(at-m)*momentLength + rest
}
