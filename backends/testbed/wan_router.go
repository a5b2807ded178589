package testbed

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	// wanMTU is the size of the largest packet between sites.
	wanMTU = 1500
	// maxUnderWay bounds the packets that are on lines; what comes on top of
	// that is dropped.
	maxUnderWay = 1 << 17
	// The layout of an IPv4 header.
	headerSize              = 20
	sourceAt, destinationAt = 12, 16
)

// router carries packets between the sites of a WAN: from the site's own line
// upwards over the path of the two sites to the other one's line downwards. It
// is the part without sockets; [router.run] is the other.
type router struct {
	mu      sync.Mutex
	chance  *rand.Rand
	up      []lineState
	down    []lineState
	path    [][]lineState // [from][to]
	heap    inFlight
	seq     uint64
	dropped int64     // for want of room or of a destination
	free    []*packet // to be used again
}

// packet is on its way; which line it is on follows from down.
type packet struct {
	at       time.Duration
	seq      uint64
	from, to int
	down     bool // it is on the last line
	size     int
	data     [wanMTU]byte
}

func newRouter(sites int, seed uint64) *router {
	r := &router{
		chance: rand.New(rand.NewPCG(seed, 0)),
		up:     make([]lineState, sites), down: make([]lineState, sites), path: make([][]lineState, sites),
	}
	for i := range r.path {
		r.path[i] = make([]lineState, sites)
	}
	return r
}

// get returns a packet to be filled and given to send.
func (r *router) get() *packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		p := r.free[n-1]
		r.free = r.free[:n-1]
		return p
	}
	return new(packet)
}

// put gives a packet back.
func (r *router) put(p *packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recycle(p)
}

func (r *router) recycle(p *packet) { r.free = append(r.free, p) }

// send takes a packet that has come from a site. Packets that claim to be of
// another site, or are for none, are dropped, as providers do.
func (r *router) send(now time.Duration, from int, p *packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.from, p.down = from, false
	var known bool
	p.to, known = r.addressed(p)
	at, ok := now, known && len(r.heap) < maxUnderWay
	if !ok {
		r.dropped++
	}
	ok = ok && then(&at, p.size, &r.up[from], r.chance) && then(&at, p.size, &r.path[from][p.to], r.chance)
	if !ok {
		r.recycle(p)
		return
	}
	r.push(at, p)
}

// then lets a packet cross one more line.
func then(at *time.Duration, size int, l *lineState, chance *rand.Rand) (ok bool) {
	*at, ok = l.pass(*at, size, chance)
	return ok
}

// addressed returns the site that a packet is for.
func (r *router) addressed(p *packet) (to int, ok bool) {
	if p.size < headerSize || p.data[0]>>4 != 4 {
		return 0, false
	}
	src := siteOf(netip.AddrFrom4([4]byte(p.data[sourceAt:])))
	dst := siteOf(netip.AddrFrom4([4]byte(p.data[destinationAt:])))
	return dst, src == p.from && dst != src && dst >= 0 && dst < len(r.up)
}

func (r *router) push(at time.Duration, p *packet) {
	p.at, p.seq = at, r.seq
	r.seq++
	heap.Push(&r.heap, p)
}

// due returns the next packet that arrives at its site by now, or nil and when
// there may be one; a negative time is never. The caller puts it back.
func (r *router) due(now time.Duration) (*packet, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.heap) > 0 && r.heap[0].at <= now {
		p := heap.Pop(&r.heap).(*packet)
		if p.down {
			return p, 0
		}
		p.down = true
		// From when it came off the path, not from now: a router that wakes up
		// late makes no line slower.
		if at, ok := r.down[p.to].pass(p.at, p.size, r.chance); ok {
			r.push(at, p)
		} else {
			r.recycle(p)
		}
	}
	if len(r.heap) == 0 {
		return nil, -1
	}
	return nil, r.heap[0].at
}

// change calls fn, which may change lines, while no packet moves.
func (r *router) change(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// inFlight is a heap of packets by time.
type inFlight []*packet

func (h inFlight) Len() int { return len(h) }
func (h inFlight) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h inFlight) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *inFlight) Push(p any)   { *h = append(*h, p.(*packet)) }
func (h *inFlight) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
