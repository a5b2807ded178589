package testbed

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// wanDevice is the name of a border's card to the WAN.
const wanDevice = "wan0"

// Way is how the inner hosts of a site get out of it.
type Way int

const (
	// NoWay: inner hosts reach their head and each other, and nothing else.
	NoWay Way = iota
	// Masquerade: a NAT that keeps the port a connection comes from if it is
	// free. All of an inner socket's connections then have one outer port
	// (endpoint-independent mapping, RFC 4787, as long as ports do not
	// collide), but only who was spoken to can answer from the same port
	// (address and port-dependent filtering).
	Masquerade
	// RandomPorts: a NAT that picks an unforeseeable port for each connection
	// (address and port-dependent mapping and filtering).
	RandomPorts
	// Routed: inner hosts have public addresses.
	Routed
)

func (w Way) String() string {
	switch w {
	case NoWay:
		return "no way out"
	case Masquerade:
		return "masquerade"
	case RandomPorts:
		return "random ports"
	case Routed:
		return "routed"
	}
	return fmt.Sprintf("way %d", int(w))
}

// Inbound is which connections from elsewhere a site lets in, to hosts with
// public addresses. What belongs to a connection from inside always comes in;
// all else vanishes without an answer.
type Inbound int

const (
	// OnlySSH lets in connections to port 22 of the head.
	OnlySSH Inbound = iota
	// Anything lets in everything.
	Anything
	// Nothing lets in nothing, which includes the client's logins.
	Nothing
)

func (i Inbound) String() string {
	switch i {
	case OnlySSH:
		return "only ssh"
	case Anything:
		return "anything"
	case Nothing:
		return "nothing"
	}
	return fmt.Sprintf("inbound %d", int(i))
}

// rules is the configuration of a site's border. It has two bridges: br0 with
// public addresses, and br1 with private ones, led outside by NAT or not at all.
// Packets from the WAN to the router itself vanish, as at most home routers:
// an answer would tell a dialler on the other side of two NATs to give up.
func (p Place) rules() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("table inet border {")
	line("chain input {\ntype filter hook input priority filter; policy drop;")
	line("ct state established,related accept")
	line("iifname != %s accept", wanDevice)
	line("}")
	line("chain forward {\ntype filter hook forward priority filter; policy drop;")
	if p.NoUDP {
		line("meta l4proto udp drop")
	}
	line("ct state established,related accept")
	line("iifname br0 oifname br1 drop") // a head has a way of its own to the inner hosts, or none
	line("iifname != %s accept", wanDevice)
	switch p.Inbound {
	case OnlySSH:
		line("ip daddr %s tcp dport %d accept", publicAddr(p.number, headNumber), sshdPort)
	case Anything:
		line("iifname %s oifname br0 accept", wanDevice)
	case Nothing:
	}
	line("}\n}")
	if p.Way == Masquerade || p.Way == RandomPorts {
		how := ""
		if p.Way == RandomPorts {
			how = " fully-random"
		}
		line("table ip nat {")
		line("chain postrouting {\ntype nat hook postrouting priority srcnat;")
		line("oifname != br1 ip saddr %s snat to %s%s", lan, publicAddr(p.number, outerNumber), how)
		line("}\n}")
	}
	return b.String()
}

// guard gives a border its rules.
func (p Place) guard(ctx context.Context, ns *os.File) error {
	if err := runIn(ctx, ns, p.rules(), "nft", "-f", "-"); err != nil {
		return fmt.Errorf("rules of the border of %s: %w", p.Name, err)
	}
	return nil
}
