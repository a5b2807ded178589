package gat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"strings"
)

// cannot is the error of a missing ability, said as what cannot be done.
type cannot string

func (c cannot) Error() string        { return "cannot " + string(c) }
func (c cannot) Is(target error) bool { return target == ErrCannot }

// able returns a login's ability, or the error that says it lacks it.
func able[A any](l Login, what string) (A, error) {
	a, ok := l.(A)
	if !ok {
		return a, &Error{Class: Permanent, Err: cannot(what)}
	}
	return a, nil
}

// Run starts a command at the site and returns it running. When ctx ends the
// process is closed. See [Runner].
func (s *Site) Run(ctx context.Context, c Command) (Process, error) {
	if err := c.Validate(); err != nil {
		return nil, &Error{Class: Invalid, Op: "run", Site: s.cfg.Name, Err: err}
	}
	var p Process
	err := s.each(ctx, "run", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Runner](l, "run commands")
		if err != nil {
			return err
		}
		o := s.observe(r, "run", c.Text())
		inner, err := a.Run(ctx, c)
		if err != nil {
			return o.end(err)
		}
		p = o.process(&process{inner, s, r})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Forward connects to a socket of the site's own host. It is tried once, over
// the URL in use. See [Forwarder].
func (s *Site) Forward(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := s.each(ctx, "forward", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Forwarder](l, "forward connections")
		if err != nil {
			return &finalError{err}
		}
		o := s.observe(r, "forward", network+":"+address)
		if conn, err = a.Forward(ctx, network, address); err != nil {
			return &finalError{o.end(err)}
		}
		conn = o.conn(conn)
		return nil
	})
	return conn, err
}

// process adds to errors where they happened.
type process struct {
	Process
	site *Site
	via  *route
}

func (p *process) Wait() (int, error) {
	code, err := p.Process.Wait()
	if err != nil {
		return code, p.site.fill(err, "wait for command", p.via)
	}
	return code, nil
}

// Put writes a file at the site in one step. It is tried again, or over
// another URL, only when r can seek back or nothing was read from it yet.
// See [Files].
func (s *Site) Put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) error {
	src := &counter{r: r}
	seeker, canSeek := r.(io.Seeker)
	var start int64
	if canSeek {
		pos, err := seeker.Seek(0, io.SeekCurrent)
		start, canSeek = pos, err == nil
	}
	return s.each(ctx, "put", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Files](l, "put files")
		if err != nil {
			return err
		}
		if src.n > 0 {
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return &finalError{fmt.Errorf("put %s: rewind the source: %w", path, err)}
			}
			src.n = 0
		}
		o := s.observe(r, "put", path)
		err = a.Put(ctx, path, mode, src)
		o.moved(src.n, 0)
		o.end(err)
		if err != nil && src.n > 0 && !canSeek {
			return &finalError{err}
		}
		return err
	})
}

// Get copies at most limit bytes of a file at the site to w; negative means
// all. It is tried again, or over another URL, only while nothing was written
// to w. See [Files].
func (s *Site) Get(ctx context.Context, path string, w io.Writer, limit int64) error {
	dst := &counter{w: w}
	return s.each(ctx, "get", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Files](l, "get files")
		if err != nil {
			return err
		}
		o := s.observe(r, "get", path)
		err = a.Get(ctx, path, dst, limit)
		o.moved(0, dst.n)
		o.end(err)
		if err != nil && dst.n > 0 {
			return &finalError{err}
		}
		return err
	})
}

// Remove removes files at the site; missing ones are no error. See [Files].
func (s *Site) Remove(ctx context.Context, paths ...string) error {
	return s.each(ctx, "remove", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Files](l, "remove files")
		if err != nil {
			return err
		}
		return s.observe(r, "remove", strings.Join(paths, " ")).end(a.Remove(ctx, paths...))
	})
}

// counter counts what passes through a reader or a writer. It hides everything
// else they can, so that nothing passes uncounted.
type counter struct {
	r io.Reader
	w io.Writer
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Inner returns a site for a host that only this site's host can reach, logged
// in already. Its name is that of this site, a slash, and the host. With dial
// nil the connection is made by this site's host itself; where that is
// forbidden the error matches [ErrForwarding]. The new site renews its login
// through this one; close it before this one. See [Inward].
func (s *Site) Inner(ctx context.Context, host string, dial DialFunc) (*Site, error) {
	u, err := url.Parse(s.routes[0].url.Scheme + "://" + host)
	if err == nil && (u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("not a host")
	}
	if err != nil {
		return nil, &Error{Class: Invalid, Op: "log in further", Site: s.cfg.Name,
			Err: fmt.Errorf("host %q: %w", host, err), Hint: "write name or user@name:port"}
	}
	cfg := s.cfg
	cfg.Name += "/" + u.Hostname()
	cfg.URLs = []*url.URL{u}
	in := newSite(cfg)
	in.routes = []*route{{url: u, text: printable(u), backend: inward{s, host, dial}}}
	if err := in.Login(ctx); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// inward logs in through another site. Retrying is the business of the site
// that uses it.
type inward struct {
	outer *Site
	host  string
	dial  DialFunc
}

func (b inward) Schemes() []string    { return nil }
func (b inward) Check(*url.URL) error { return nil }

func (b inward) Open(ctx context.Context, _ Target) (Login, error) {
	pass := passageOf(ctx, nil)
	var tried []*Error
	for _, r := range b.outer.routes {
		var login Login
		err := b.outer.once(ctx, "log in further", r, func(ctx context.Context, _ *route, l Login) error {
			a, err := able[Inward](l, "log in further")
			if err != nil {
				return err
			}
			// Only now: the login it goes through may have had to be made.
			if err := pass.enter(ctx); err != nil {
				return err
			}
			login, err = a.Inner(ctx, b.host, b.dial)
			return err
		})
		if err == nil {
			return login, nil
		}
		tried = append(tried, b.outer.fill(err, "log in further", r))
	}
	return nil, b.outer.join("log in further", tried)
}
