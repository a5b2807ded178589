package pilot

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what a hub does for a launcher.
const (
	maxListeners  = 8                // addresses a hub listens on
	dialPatience  = 15 * time.Second // to reach a host of the site
	halfOpen      = time.Minute      // of a connection of which one end has said all
	frameDeadline = 10 * time.Second // for a frame, or the log
	logTail       = 64 << 10         // bytes of a log that are sent
)

// serveLog sends the newest part of this agent's log to a launcher.
func (r *resident) serveLog(_ context.Context, s *transport.Stream) {
	if s.Peer().Role != wire.RoleLauncher {
		r.log.Warn("refused what only a launcher may ask for", "peer", s.Peer().ID.Short())
		s.Reset()
		return
	}
	s.SetWriteDeadline(time.Now().Add(frameDeadline))
	s.Write(r.file.tail(logTail)) // the other end sees a broken stream as a short log
}

// requested reads what a launcher wants of a hub on a stream; nil when it is no
// launcher or says nothing of the kind.
func requested[M any, P interface {
	*M
	wire.Message
}](r *resident, s *transport.Stream) P {
	return requestedUpTo[M, P](r, s, 1024)
}

// requestedUpTo reads as requested does, up to a number of bytes.
func requestedUpTo[M any, P interface {
	*M
	wire.Message
}](r *resident, s *transport.Stream, most int) P {
	if s.Peer().Role != wire.RoleLauncher {
		r.log.Warn("refused what only a launcher may ask for", "peer", s.Peer().ID.Short())
		s.Reset()
		return nil
	}
	s.SetReadDeadline(time.Now().Add(frameDeadline))
	m, err := wire.ReadFrame(s, most)
	want, ok := m.(P)
	if err != nil || !ok {
		s.Reset()
		return nil
	}
	s.SetReadDeadline(time.Time{})
	return want
}

// serveDial connects a launcher to a host that this one can reach.
func (r *resident) serveDial(ctx context.Context, s *transport.Stream) {
	d := requested[wire.Dial](r, s)
	if d == nil {
		return
	}
	dialer := net.Dialer{Timeout: dialPatience}
	conn, err := dialer.DialContext(ctx, "tcp", d.Address)
	if err != nil {
		wire.WriteFrame(s, &wire.Accepted{Error: short(err.Error())})
		return
	}
	defer conn.Close()
	if err := wire.WriteFrame(s, &wire.Accepted{}); err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	// Each direction ends by itself, the second one soon after the first.
	var back sync.WaitGroup
	back.Go(func() {
		if _, err := io.Copy(conn, s); err != nil {
			conn.Close()
			return
		}
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(halfOpen))
	})
	if _, err := io.Copy(s, conn); err != nil {
		s.Reset()
	} else {
		s.CloseWrite()
		s.SetReadDeadline(time.Now().Add(halfOpen))
	}
	back.Wait()
}

// serveListen lets the pilots of the site in on an address of this host.
func (r *resident) serveListen(ctx context.Context, s *transport.Stream) {
	l := requested[wire.Listen](r, s)
	if l == nil {
		return
	}
	answer := new(wire.Listening)
	host := l.Host
	var err error
	if l.Toward != "" {
		var at netip.Addr
		if at, err = toward(ctx, l.Toward); err == nil {
			host = at.String()
		}
	}
	if err == nil {
		answer.Address, err = r.listen(host)
	}
	if err != nil {
		answer.Error = short(err.Error())
	} else {
		r.publish(ctx)
	}
	wire.WriteFrame(s, answer) // a lost answer is asked for again
}

// listen returns the address that the hub listens on for a host address; with a port,
// that very address.
func (r *resident) listen(host string) (string, error) {
	want, err := netip.ParseAddrPort(host)
	if err != nil {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return "", err
		}
		want = netip.AddrPortFrom(ip, 0)
	}
	if a := want.Addr().Unmap(); a.IsUnspecified() || a.IsMulticast() {
		return "", fmt.Errorf("listen on %s: not the address of one interface", a)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		a := l.Addr().(*net.TCPAddr).AddrPort()
		if a.Addr().Unmap() == want.Addr().Unmap() && (want.Port() == 0 || want.Port() == a.Port()) {
			return a.String(), nil
		}
	}
	if len(r.listeners) >= maxListeners {
		return "", fmt.Errorf("this hub listens on %d addresses already", maxListeners)
	}
	l, err := net.Listen("tcp", want.String())
	if err != nil {
		return "", err
	}
	r.listeners = append(r.listeners, l)
	r.serve(l, transport.TCP)
	r.log.Info("listening for pilots", "address", l.Addr())
	return l.Addr().String(), nil
}

// replaceTokens makes list the tokens that a hub admits pilots by, from now on
// in the CA's time.
func (r *resident) replaceTokens(signer *transport.Signer, list []wire.Token, now time.Time) {
	for _, name := range r.admits {
		if !slices.ContainsFunc(list, func(t wire.Token) bool { return t.Name == name }) {
			signer.Revoke(name)
		}
	}
	var names []string
	for _, t := range list {
		names = append(names, t.Name)
		if slices.Contains(r.admits, t.Name) {
			continue
		}
		err := signer.AddToken(transport.Token{
			Name:    t.Name,
			Secret:  t.Secret,
			Role:    t.Role,
			Site:    r.boot.Site,
			Joins:   int(t.Joins),
			Expires: now.Add(t.TTL),
		})
		if err != nil {
			r.log.Warn("join token refused", "token", t.Name, "error", err)
		}
	}
	r.admits = names
}
