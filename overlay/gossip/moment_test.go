package gossip

import (
	"testing"
	"time"
)

// TestMomentAge holds that ages are right however long the clock has run: at
// first, when the times are before its beginning, after years, and where the
// numbers of moments go round.
func TestMomentAge(t *testing.T) {
	t.Parallel()
	const (
		round = (1 << 32) * momentLength // in which the numbers go round
		year  = 365 * 24 * time.Hour
	)
	for _, now := range []time.Duration{0, 1, time.Second, round/2 - 1, round / 2, round - 1, round, round + 1, round + time.Minute, 3*round + 5*time.Millisecond, 3 * year, 30 * year} {
		for _, age := range []time.Duration{0, 1, momentLength - 1, momentLength, time.Second + 3, Period, Expire - 1, Expire, Expire + 1, year} {
			got := momentOf(now - age).age(now)
			if got < age || got >= age+momentLength {
				t.Errorf("at %v, what is %v old has age %v", now, age, got)
			}
			if got := momentOf(now - age).age(now + time.Minute); got < age+time.Minute || got >= age+time.Minute+momentLength {
				t.Errorf("a minute after %v, what was %v old then has age %v", now, age, got)
			}
		}
	}
}
