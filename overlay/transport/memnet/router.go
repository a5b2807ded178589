package memnet

import "net/netip"

// Dependence says on what a mapping or a filter depends (RFC 4787, sections
// 4.1 and 5).
type Dependence uint8

const (
	None                    Dependence = iota // no translation; no filter
	EndpointIndependent                       // on the inner endpoint only
	AddressDependent                          // and on the other end's address
	AddressAndPortDependent                   // and on its port
)

func (d Dependence) String() string {
	switch d {
	case None:
		return "none"
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return "invalid"
}

// Router is what stands between two networks. The zero value lets everything
// through.
type Router struct {
	Addr      netip.Addr // its address outside, if it translates
	Mapping   Dependence // of the outer endpoint; None: a router or firewall, which translates nothing
	Filtering Dependence // who may send to an inner endpoint: everybody that may, to one that has sent
	// something (endpoint-independent), to that address, or to that very endpoint
	PreservePort bool // the outer port is the inner one where that is free
	Hairpin      bool // inner hosts reach each other by their outer endpoints
	Reject       bool // answers what it does not let in with a reset, not with silence
}

// flow is two ends of a connection; the second may be less than an endpoint.
type flow struct{ inner, outer netip.AddrPort }

// mapping is an outer endpoint that stands for an inner one, or, in a
// firewall, an inner endpoint that has sent something.
type mapping struct {
	inner, outer netip.AddrPort
	sent         map[netip.AddrPort]bool // whom it may hear from, as far as the filter looks
}

type router struct {
	Router
	made  map[flow]*mapping // by what a mapping depends on
	flows map[flow]*mapping // by what has passed: answers go back the same way
	outer map[netip.AddrPort]*mapping
	next  uint16
}

// firstPort is the first port that is given out.
const firstPort = 32768

func newRouter(r Router) *router {
	return &router{Router: r, made: make(map[flow]*mapping), flows: make(map[flow]*mapping),
		outer: make(map[netip.AddrPort]*mapping), next: firstPort + 7000}
}

// part returns as much of an endpoint as a dependence looks at.
func (d Dependence) part(end netip.AddrPort) netip.AddrPort {
	switch d {
	case AddressDependent:
		return netip.AddrPortFrom(end.Addr(), 0)
	case AddressAndPortDependent:
		return end
	}
	return netip.AddrPort{}
}

// out takes a packet to the outside.
func (r *router) out(p *packet) bool {
	through := flow{p.src, p.dst}
	m := r.flows[through]
	if m == nil {
		key := flow{p.src, r.Mapping.part(p.dst)}
		if m = r.made[key]; m == nil {
			m = &mapping{inner: p.src, outer: r.endpoint(p.src), sent: make(map[netip.AddrPort]bool)}
			r.made[key] = m
			r.outer[m.outer] = m
		}
		r.flows[through] = m
	}
	m.sent[r.Filtering.part(p.dst)] = true
	p.src = m.outer
	return true
}

// endpoint picks the outer endpoint of an inner one.
func (r *router) endpoint(inner netip.AddrPort) netip.AddrPort {
	if r.Mapping == None {
		return inner
	}
	outer := netip.AddrPortFrom(r.Addr, inner.Port())
	for !r.PreservePort || r.outer[outer] != nil {
		r.next += 3
		outer = netip.AddrPortFrom(r.Addr, r.next)
		if r.outer[outer] == nil {
			break
		}
	}
	return outer
}

// in takes a packet to the inside, or refuses it.
func (r *router) in(p *packet) bool {
	m := r.outer[p.dst]
	if m == nil {
		return r.Mapping == None && r.Filtering == None
	}
	if r.Filtering != None && !m.sent[r.Filtering.part(p.src)] && r.flows[flow{m.inner, p.src}] != m {
		return false
	}
	r.flows[flow{m.inner, p.src}] = m
	p.dst = m.inner
	return true
}
