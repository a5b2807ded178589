package wire

// Address says where a node is found: by its identity, and by the hubs that
// relay to it. Nobody needs to know every node: whoever wants to reach one is
// told its address, and only hubs know the ways between hubs.
type Address struct {
	ID   NodeID   `cbor:"1,keyasint"`
	Hubs []NodeID `cbor:"2,keyasint,omitempty"` // best first; a hub's own address may have none
}

// Validate reports the first field that is out of its limits.
func (a *Address) Validate() error {
	if a.ID.IsZero() {
		return invalidf("address without identity")
	}
	return checkHubs(a.ID, a.Hubs)
}

// Path tells how two nodes that have a link are connected.
type Path uint8

// The paths.
const (
	PathUnknown      Path = 0
	PathLocal        Path = 1 // a socket on one machine
	PathDirect       Path = 2 // one has called the other
	PathReverse      Path = 3 // the same, the other way than it was wanted
	PathSimultaneous Path = 4 // both have called at once
	PathSSH          Path = 5 // over a login
	PathRouted       Path = 6 // over hubs
)

// String returns the name of the path, such as "direct".
func (p Path) String() string {
	names := [...]string{"unknown", "local", "direct", "reverse", "simultaneous", "ssh", "routed"}
	if int(p) < len(names) {
		return names[p]
	}
	return names[0]
}

// Locality says where a node is, for those who look for others nearby: its
// site, and the hubs that relay to it. One that was sent or received must not
// be changed: it is shared by all that speak of the node.
type Locality struct {
	Site string   `cbor:"1,keyasint,omitempty"`
	Hubs []NodeID `cbor:"2,keyasint,omitempty"` // best first
}

// validate bounds the locality of a node; nil is one that is not known.
func (l *Locality) validate(of NodeID) error {
	if l == nil {
		return nil
	}
	return firstError(checkText("site", l.Site, MaxName), checkHubs(of, l.Hubs))
}

// checkHubs bounds the hubs of a node: there are at most [MaxHubs], each named
// once, and none of them is the node itself.
func checkHubs(of NodeID, hubs []NodeID) error {
	if len(hubs) > MaxHubs {
		return invalidf("%d hubs", len(hubs))
	}
	for i, h := range hubs {
		if h.IsZero() || h == of || i > 0 && h == hubs[0] {
			return invalidf("hub %s of %s", h.Short(), of.Short())
		}
	}
	return nil
}
