package testbed

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// listening describes the sockets of a host that wait for somebody, except
// those of sshd and of users that may own none. It runs inside the host.
func listening(procs []Process, mayOwn func(user string) bool) ([]string, error) {
	var left []string
	// Not /proc/net: that is of the reader, who has no number in the host.
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6", "unix"} {
		table, err := os.ReadFile("/proc/1/net/" + protocol)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		_, rows, _ := bytes.Cut(table, []byte("\n"))
		for row := range strings.Lines(string(rows)) {
			parse := internetSocket
			if protocol == "unix" {
				parse = unixSocket
			}
			name, inode, ok := parse(protocol, strings.Fields(row))
			if !ok {
				continue
			}
			i := slices.IndexFunc(procs, func(p Process) bool { return slices.Contains(p.sockets, inode) })
			switch {
			case i < 0:
				left = append(left, fmt.Sprintf("listening %s %s", protocol, name))
			case !procs[i].sshd && mayOwn(procs[i].User):
				left = append(left, fmt.Sprintf("listening %s %s, process %s", protocol, name, procs[i]))
			}
		}
	}
	return left, nil
}

// internetSocket reads a row of /proc/net/tcp and its kin.
func internetSocket(protocol string, f []string) (name, inode string, ok bool) {
	const listen, unconnected = "0A", "07"
	if len(f) < 10 {
		return "", "", false
	}
	state := listen
	if strings.HasPrefix(protocol, "udp") {
		state = unconnected
	}
	if f[3] != state {
		return "", "", false
	}
	addr, err := parseAddr(f[1])
	if err != nil {
		return f[1], f[9], true // odd, but there
	}
	return addr.String(), f[9], true
}

// parseAddr reads "0100007F:1F90": 32-bit words in the byte order of the
// machine, which is taken to be little-endian, and the port.
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address of %d bytes", len(b))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(addr, uint16(n)), err
}

// unixSocket reads a row of /proc/net/unix.
func unixSocket(_ string, f []string) (name, inode string, ok bool) {
	const accepting = 0x10000
	if len(f) < 7 {
		return "", "", false
	}
	flags, err := strconv.ParseUint(f[3], 16, 32)
	if err != nil || flags&accepting == 0 {
		return "", "", false
	}
	name = "without a name"
	if len(f) > 7 {
		name = f[7]
	}
	return name, f[6], true
}
