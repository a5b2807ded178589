package hub

import (
	"net/netip"
	"slices"
	"time"
)

// End is what one end of an attempt at a direct connection tells the other
// about itself. Everything in it is the end's own word: who dials by it checks
// first where it leads.
type End struct {
	// Local are the addresses of its interfaces, each with its network.
	Local []netip.Prefix
	// Port is the local port that it listens on, if it does, and dials from
	// where that matters.
	Port uint16
	// Observed is how others see that port: one endpoint of each one asked, no
	// two the same. None: nobody could be asked.
	Observed []netip.AddrPort
	// Listens says that it takes calls on Port while the attempt lasts.
	Listens bool
}

// Method tells how two ends got a direct connection.
type Method uint8

const (
	Direct       Method = 1 // the end that asked has called
	Reverse      Method = 2 // the other end has called
	Simultaneous Method = 3 // both have called from the ports that the other end called
)

func (m Method) String() string {
	switch m {
	case Direct:
		return "direct"
	case Reverse:
		return "reverse"
	case Simultaneous:
		return "simultaneous"
	}
	return "invalid"
}

// Call is one thing that an end does in an attempt: dial an address.
type Call struct {
	To    netip.AddrPort
	After time.Duration // since the moment that both ends have agreed on
	By    Method
	// Bound says that it dials from End.Port, and again when it is refused:
	// the first calls may come before the other end's filter is open.
	Bound bool
}

// How calls follow each other: a stage begins when the one before has had the
// time to succeed, and the ones before go on.
const (
	lanLead      = 100 * time.Millisecond // before the internet is tried
	publicLead   = 300 * time.Millisecond // before the other end calls
	reverseLead  = 400 * time.Millisecond // before both do
	maxStage     = 6                      // calls of one end in one stage
	maxEndpoints = 3                      // observed endpoints that show how a translator maps
)

// Calls says what the end that asked for a direct connection dials, and what
// the other end does, in the order of time. Both compute it from the same two
// descriptions. sameSite says that both belong to one site.
//
// The order is: addresses of a network that both are in, public addresses, the
// same from the other end, and both at once. Private addresses are only called
// within a network or site, or behind the same translator: elsewhere they are
// somebody else's. An end whose translator shows each host a port of its own
// cannot be called, but it can call; then the other end's calls only open its own
// filter. Two such ends have no way but the routed one.
func Calls(asker, other End, sameSite bool) (asks, answers []Call) {
	a, b := asker.view(), other.view()
	near := sameSite || a.behindSame(b)
	var after time.Duration
	stage := func(lead time.Duration, calls ...Call) {
		asks = append(asks, calls...)
		if len(calls) > 0 {
			after += lead
		}
	}
	within, outside := b.callable(a, near)
	stage(lanLead, calls(within, after, Direct)...)
	stage(publicLead, calls(outside, after, Direct)...)
	within, outside = a.callable(b, near)
	if back := calls(slices.Concat(within, outside), after, Reverse); len(back) > 0 {
		answers = append(answers, back...)
		after += reverseLead
	}
	if there, back, ok := punch(a, b); ok {
		asks = append(asks, bound(there, after)...)
		answers = append(answers, bound(back, after)...)
	}
	return asks, answers
}

// view is an end with what follows from its description.
type view struct {
	End
	public    []netip.AddrPort // its own public addresses
	private   []netip.AddrPort
	outer     []netip.AddrPort // observed, and none of its own: a translator's
	dependent bool             // the translator shows each host another port
}

func (e End) view() view {
	v := view{End: e}
	for _, p := range e.Local {
		end := netip.AddrPortFrom(p.Addr(), e.Port)
		if isPublic(p.Addr()) {
			v.public = append(v.public, end)
		} else {
			v.private = append(v.private, end)
		}
	}
	ports := make(map[netip.Addr]uint16)
	for _, o := range e.Observed {
		if slices.ContainsFunc(e.Local, func(p netip.Prefix) bool { return p.Addr() == o.Addr() }) {
			continue
		}
		if !isPublic(o.Addr()) {
			continue // seen by a neighbour on the inside
		}
		if port, ok := ports[o.Addr()]; ok && port != o.Port() {
			v.dependent = true
			continue
		}
		ports[o.Addr()] = o.Port()
		v.outer = append(v.outer, o)
	}
	v.outer = v.outer[:min(len(v.outer), maxEndpoints)]
	return v
}

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// sharedSpace is what providers number their customers with behind their own
// translators (RFC 6598).
var sharedSpace = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// behindSame reports whether both ends are seen with the same address, that of
// a translator.
func (v view) behindSame(w view) bool {
	return slices.ContainsFunc(v.outer, func(o netip.AddrPort) bool {
		return slices.ContainsFunc(w.outer, func(p netip.AddrPort) bool { return o.Addr() == p.Addr() })
	})
}

// callable returns where an end can be called from another one: within a
// network of both, and outside.
func (v view) callable(from view, near bool) (within, outside []netip.AddrPort) {
	if !v.Listens {
		return nil, nil
	}
	for i, p := range v.Local {
		end := netip.AddrPortFrom(p.Addr(), v.Port)
		switch {
		case from.in(v.Local[i]):
			within = append(within, end)
		case isPublic(p.Addr()):
			outside = append(outside, end)
		case near:
			within = append(within, end)
		}
	}
	if !v.dependent {
		outside = append(outside, v.outer...)
	}
	return within, outside
}

// in reports whether an end has an address in the same network.
func (v view) in(p netip.Prefix) bool {
	return slices.ContainsFunc(v.Local, func(own netip.Prefix) bool {
		return own.Masked() == p.Masked() && own.Bits() < own.Addr().BitLen()
	})
}

// punch returns whom both ends call at once, if that can work: the other
// end's translator, or its public address if a firewall stands before it.
func punch(a, b view) (there, back []netip.AddrPort, ok bool) {
	if a.dependent && b.dependent {
		return nil, nil, false
	}
	there, back = b.outside(), a.outside()
	if len(there) == 0 || len(back) == 0 {
		return nil, nil, false // one of them is not to be seen from outside
	}
	// Where one translator's port is not to be known, the other end has to
	// take the call on a listening socket: what it dials is answered by nobody.
	if a.dependent && !b.Listens || b.dependent && !a.Listens {
		return nil, nil, false
	}
	return there, back, true
}

func (v view) outside() []netip.AddrPort { return slices.Concat(v.outer, v.public) }

func calls(to []netip.AddrPort, after time.Duration, m Method) []Call {
	var all []Call
	for _, end := range to[:min(len(to), maxStage)] {
		all = append(all, Call{To: end, After: after, By: m})
	}
	return all
}

func bound(to []netip.AddrPort, after time.Duration) []Call {
	all := calls(to, after, Simultaneous)
	for i := range all {
		all[i].Bound = true
	}
	return all
}
