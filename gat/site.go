package gat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The defaults of [SiteConfig].
const (
	DefaultPollEvery    = 5 * time.Second
	DefaultRetries      = 3
	DefaultBackoff      = 500 * time.Millisecond
	DefaultLoginTimeout = 30 * time.Second
	DefaultGrace        = 3
	DefaultAskTimeout   = 5 * time.Minute

	maxBackoff = 10 * time.Second // longest wait between two tries
	loginHold  = 30 * time.Second // how long a URL that did not answer is passed over

	// confirmTime is how long a login may take after a question or a prompt: the user
	// may have to confirm it on a telephone.
	confirmTime = 2 * time.Minute
)

// SiteConfig says what a [Site] is made of. Name, URLs and Backends are
// required, everything else has a default.
type SiteConfig struct {
	Name     string
	URLs     []*url.URL // tried in this order, per operation
	Backends []Backend  // looked up by URL scheme

	Dial   DialFunc     // nil: a plain net.Dialer
	Ask    Asker        // nil: nobody can be asked
	Home   string       // holds the user's .ssh; empty: the user's home
	Logger *slog.Logger // nil: silent

	// AskTimeout bounds the time from a question's being put to its answer. A
	// question that nobody answers ends the login with class Denied. Default 5 min.
	AskTimeout time.Duration

	// Turn is held by who puts a question: a channel with room for one value. Sites
	// whose questions go to the same user share it; a question waits for its turn
	// without its time running. Nil: the site's own.
	Turn chan struct{}

	// PollEvery is the least time between two polls of the site, whatever
	// the number of jobs and watchers. Default 5 s, or what the login in use
	// says (see [Paced]).
	PollEvery time.Duration

	// Polls lets logins share the answers of a queueing system, see [Polls].
	// Default: in the memory of each login.
	Polls Polls

	// Retries is how often a transient error of one URL is tried again before
	// the next URL has its turn. Default 3; negative means never.
	Retries int

	// Backoff is the wait before the first retry; it doubles up to 10 s.
	// Default 500 ms.
	Backoff time.Duration

	// LoginTimeout bounds one login. The time the user takes to answer
	// questions does not count. A login is not tried again once its tries took
	// this long together. Default 30 s.
	LoginTimeout time.Duration

	// Grace is the number of consecutive polls a job may be unknown to the
	// site before it counts as lost: queues forget jobs for a moment.
	// Default 3.
	Grace int

	// Gate bounds how many logins are made at once, together with other sites;
	// nil means no bound.
	Gate Gate

	// Observe is told of everything that is done at the site, each try by itself,
	// when it has ended, and when it begins if it may take long (see
	// Operation.Going). It is called from any goroutine and must not block.
	// Nil: nobody.
	Observe func(Operation)

	// NeverRedial says that a login that broke is replaced by an explicit
	// Login only. That is always so for a login that needed the user (see
	// Target.Prompted).
	NeverRedial bool
}

var (
	// ErrClosed matches errors of operations on a [Site] or a login after its Close.
	ErrClosed = errors.New("closed")

	// ErrDetached matches errors of operations on a [Site] whose login broke
	// and is not to be replaced silently. [Site.Login] brings it back.
	ErrDetached = errors.New("detached: the login broke and is not renewed without being asked")

	// ErrCannot matches errors that say that a backend lacks an optional ability.
	ErrCannot = errors.New("the backend lacks the ability")

	// ErrUnsure matches errors of Submit after which jobs may be there, or come
	// soon, whose identifiers are not known. [Site.Find] finds them by their name.
	ErrUnsure = errors.New("jobs may have been submitted nevertheless")
)

// Site is one site, reached by one or more URLs. It carries what all backends
// share: every operation logs in when needed, over one login per URL that all
// operations share, is retried where the error is transient, and falls back to
// the next URL when the first cannot do it. Errors name the site and each URL
// tried.
//
// All methods are safe for concurrent use. A Site makes no connection until
// its first operation.
type Site struct {
	cfg    SiteConfig
	log    *slog.Logger
	routes []*route

	life context.Context // ends with Close; parent of logins and polls only
	end  context.CancelFunc
	wg   sync.WaitGroup // logins in progress, their monitors, the poller

	mu       sync.Mutex
	closed   bool
	via      *route
	broken   chan struct{}
	isBroken bool
	poll     poller
}

// NewSite returns the site that cfg describes, without any I/O. Its errors are
// of class [Invalid].
func NewSite(cfg SiteConfig) (*Site, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	byScheme := make(map[string]Backend)
	for _, b := range cfg.Backends {
		for _, scheme := range b.Schemes() {
			byScheme[scheme] = b
		}
	}
	s := newSite(cfg)
	for _, u := range cfg.URLs {
		r := &route{url: u, text: printable(u), backend: byScheme[u.Scheme]}
		wrong := func(err error) error {
			e := s.fill(err, "check", r)
			e.Class = Invalid
			return e
		}
		if r.backend == nil {
			return nil, wrong(fmt.Errorf("unknown scheme %q: known are %s",
				u.Scheme, strings.Join(slices.Sorted(maps.Keys(byScheme)), ", ")))
		}
		if err := r.backend.Check(u); err != nil {
			return nil, wrong(err)
		}
		s.routes = append(s.routes, r)
	}
	return s, nil
}

func newSite(cfg SiteConfig) *Site {
	s := &Site{cfg: cfg, broken: make(chan struct{})}
	s.log = cfg.Logger.With("site", cfg.Name)
	s.life, s.end = context.WithCancel(context.Background())
	s.poll.known = make(map[JobID]*record)
	return s
}

func (c *SiteConfig) fill() error {
	wrong := func(text string) error {
		return &Error{Class: Invalid, Op: "check", Site: c.Name, Err: errors.New(text)}
	}
	switch {
	case c.Name == "":
		return wrong("a site needs a name")
	case len(c.URLs) == 0:
		return wrong("a site needs at least one URL")
	case slices.Contains(c.URLs, nil):
		return wrong("a URL is missing")
	case c.PollEvery < 0 || c.Backoff < 0 || c.LoginTimeout < 0 || c.AskTimeout < 0 || c.Grace < 0:
		return wrong("times and limits cannot be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Retries == 0 {
		c.Retries = DefaultRetries
	}
	if c.Backoff == 0 {
		c.Backoff = DefaultBackoff
	}
	if c.LoginTimeout == 0 {
		c.LoginTimeout = DefaultLoginTimeout
	}
	if c.AskTimeout == 0 {
		c.AskTimeout = DefaultAskTimeout
	}
	if c.Turn == nil {
		c.Turn = make(chan struct{}, 1)
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	return nil
}

// Name returns the site's name.
func (s *Site) Name() string { return s.cfg.Name }

// Login logs in now, by the first URL that works, also where a login broke
// before or was refused. It returns at once when there is a login already. When it
// fails, a login that broke is still not replaced silently.
func (s *Site) Login(ctx context.Context) error {
	s.mu.Lock()
	for _, r := range s.routes {
		r.held = nil
	}
	s.mu.Unlock()
	ctx = context.WithValue(ctx, explicitKey{}, true)
	return s.each(ctx, "log in", s.routes, func(context.Context, *route, Login) error { return nil })
}

// Via returns the URL that served the last operation, without secrets, or ""
// before the first login.
func (s *Site) Via() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.via == nil {
		return ""
	}
	return s.via.text
}

// Broken returns a channel that is closed when the login in use breaks or the
// site is closed. Before the first login it waits for that login; once broken,
// the channel stays closed and the next login has a new one.
func (s *Site) Broken() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Detached reports whether the site has no login because one broke that is not
// renewed silently, see [ErrDetached].
func (s *Site) Detached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	detached := false
	for _, r := range s.routes {
		if r.login != nil && !ended(r.login) {
			return false
		}
		detached = detached || (r.lost || r.login != nil) && (r.prompted || s.cfg.NeverRedial)
	}
	return detached
}

// Attended reports whether the login in use needed the user: there is no other one
// beside it, and it is not made again silently.
func (s *Site) Attended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.routes, func(r *route) bool { return r.login != nil && r.prompted })
}

// Close ends all logins of the site and waits until nothing of it runs any
// more. Jobs go on. Operations in progress end with errors.
func (s *Site) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if !s.isBroken {
		s.isBroken = true
		close(s.broken)
	}
	var logins []Login
	for _, r := range s.routes {
		if r.login != nil {
			if !r.borrowed {
				logins = append(logins, r.login)
			}
			r.login = nil
		}
	}
	s.mu.Unlock()
	s.end()
	var errs []error
	for _, l := range logins {
		if err := l.Close(); err != nil {
			errs = append(errs, &Error{Class: ClassOf(err), Op: "close", Site: s.cfg.Name, Err: err})
		}
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

// printable returns u as text without its password.
func printable(u *url.URL) string {
	if _, has := u.User.Password(); !has {
		return u.String()
	}
	v := *u
	v.User = url.User(u.User.Username())
	return v.String()
}
