package sim

import (
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Kernel is a virtual clock and what is to happen.
type Kernel struct {
	now    time.Duration
	heap   []event
	seq    uint64
	ran    uint64
	rand   *rand.Rand
	digest hash.Hash64
	word   [8]byte
}

type event struct {
	at  time.Duration
	seq uint64 // events at the same time happen in the order they were planned in
	do  func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// New returns a kernel at time 0.
func New(seed uint64) *Kernel {
	return &Kernel{rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), digest: fnv.New64a()}
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
func (k *Kernel) At(t time.Duration, do func()) {
	k.seq++
	k.push(event{max(t, k.now), k.seq, do})
}

// After plans something for after a time.
func (k *Kernel) After(d time.Duration, do func()) { k.At(k.now+d, do) }

// Run lets everything happen that is planned up to a time, and what comes of
// it; then it is that time.
func (k *Kernel) Run(until time.Duration) {
	for len(k.heap) > 0 && k.heap[0].at <= until {
		e := k.pop()
		k.now = e.at
		k.ran++
		e.do()
	}
	k.now = max(k.now, until)
}

// Events returns how many events have happened.
func (k *Kernel) Events() uint64 { return k.ran }

// Trace mixes the time and some words into the digest.
func (k *Kernel) Trace(words ...uint64) {
	k.mix(uint64(k.now))
	for _, w := range words {
		k.mix(w)
	}
}

// TraceBytes mixes bytes into the digest.
func (k *Kernel) TraceBytes(b []byte) { k.digest.Write(b) }

func (k *Kernel) mix(w uint64) {
	binary.LittleEndian.PutUint64(k.word[:], w)
	k.digest.Write(k.word[:])
}

// Digest returns the digest of all that was traced.
func (k *Kernel) Digest() uint64 { return k.digest.Sum64() }

func (k *Kernel) push(e event) {
	k.heap = append(k.heap, e)
	h := k.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (k *Kernel) pop() event {
	h := k.heap
	first := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	k.heap = h
	for i := 0; ; {
		low := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if h[c].before(&h[low]) {
				low = c
			}
		}
		if low == i {
			return first
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
}
