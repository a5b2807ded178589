package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// SystemNetwork returns the network of the host. Dialling from a given port
// works on Linux only, so elsewhere two nodes behind translators or firewalls
// stay connected through hubs.
func SystemNetwork() Network { return systemNetwork{} }

type systemNetwork struct{}

func (systemNetwork) Dial(ctx context.Context, port uint16, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if port != 0 {
		if !sharesPorts {
			return nil, fmt.Errorf("dial from a port that is listened on: %w on this system", errors.ErrUnsupported)
		}
		d.LocalAddr = &net.TCPAddr{Port: int(port)}
		d.Control = sharePort
	}
	return d.DialContext(ctx, "tcp", to.String())
}

func (systemNetwork) Listen(port uint16) (net.Listener, error) {
	c := net.ListenConfig{Control: sharePort}
	return c.Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port))
}

func (systemNetwork) Addresses() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		bits, _ := n.Mask.Size()
		prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), bits))
	}
	return prefixes, nil
}
