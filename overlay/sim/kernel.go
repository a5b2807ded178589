package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Event is something that happens once. A type that is planned often is a
// pointer to something that is used again, so that planning it takes no memory.
type Event interface {
	Happen()
}

// call is an Event without anything of its own.
type call func()

func (f call) Happen() { f() }

// Kernel is a virtual clock and what is to happen.
type Kernel struct {
	now    time.Duration
	heap   []planned // a heap in which each has four below it: half as deep as one of two
	seq    uint64
	ran    uint64
	rand   *rand.Rand
	digest uint64
}

type planned struct {
	at    time.Duration
	seq   uint64 // events at the same time happen in the order they were planned in
	event Event
}

func (e *planned) before(o *planned) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// New returns a kernel at time 0.
func New(seed uint64) *Kernel {
	return &Kernel{rand: rand.New(rand.NewPCG(seed, golden)), digest: offset}
}

// Now returns the virtual time.
func (k *Kernel) Now() time.Duration { return k.now }

// Rand returns the one source of chance.
func (k *Kernel) Rand() *rand.Rand { return k.rand }

// Chance reports true with probability p.
func (k *Kernel) Chance(p float64) bool { return p > 0 && k.rand.Float64() < p }

// Between returns a time from lo to hi, lo included.
func (k *Kernel) Between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(k.rand.Int64N(int64(hi-lo)))
}

// At plans something for a time, or for now when that is past.
func (k *Kernel) At(t time.Duration, do func()) { k.Plan(t, call(do)) }

// After plans something for after a time.
func (k *Kernel) After(d time.Duration, do func()) { k.Plan(k.now+d, call(do)) }

// Plan plans an event for a time, or for now when that is past.
func (k *Kernel) Plan(t time.Duration, e Event) {
	k.seq++
	k.push(planned{max(t, k.now), k.seq, e})
}

// Run lets everything happen that is planned up to a time, and what comes of
// it; then it is that time.
func (k *Kernel) Run(until time.Duration) {
	for len(k.heap) > 0 && k.heap[0].at <= until {
		e := k.pop()
		k.now = e.at
		k.ran++
		e.event.Happen()
	}
	k.now = max(k.now, until)
}

// Events returns how many events have happened.
func (k *Kernel) Events() uint64 { return k.ran }

// Planned returns how many events are still to happen.
func (k *Kernel) Planned() int { return len(k.heap) }

// The constants of the digest: of FNV-1a, with words for bytes, and the golden
// ratio.
const (
	offset = 0xcbf29ce484222325
	prime  = 0x100000001b3
	golden = 0x9e3779b97f4a7c15
)

// Trace mixes the time and some words into the digest.
func (k *Kernel) Trace(words ...uint64) {
	k.mix(uint64(k.now))
	for _, w := range words {
		k.mix(w)
	}
}

// TraceBytes mixes bytes, and how many they are, into the digest.
func (k *Kernel) TraceBytes(b []byte) {
	k.mix(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		k.mix(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		k.mix(uint64(c))
	}
}

// mix spreads every bit of a word over the whole digest: a product carries
// bits up, the shift brings them down.
func (k *Kernel) mix(w uint64) {
	d := (k.digest ^ w) * golden
	k.digest = (d ^ d>>32) * prime
}

// Digest returns the digest of all that was traced. It finds differences; it
// is no defence against anybody.
func (k *Kernel) Digest() uint64 { return k.digest }

func (k *Kernel) push(e planned) {
	k.heap = append(k.heap, e)
	h := k.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

func (k *Kernel) pop() planned {
	h := k.heap
	first := h[0]
	n := len(h) - 1
	e := h[n]
	h[n] = planned{}
	h = h[:n]
	k.heap = h
	if n == 0 {
		return first
	}
	i := 0
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		low := c
		for j := c + 1; j < min(c+4, n); j++ {
			if h[j].before(&h[low]) {
				low = j
			}
		}
		if !h[low].before(&e) {
			break
		}
		h[i] = h[low]
		i = low
	}
	h[i] = e
	return first
}
