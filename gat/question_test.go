package gat_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// never answers no question.
func never(ctx context.Context, _, _ string, _ bool) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}

func TestNobodyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Password = "sesame"
		s := site(t, gat.SiteConfig{Ask: never}, gatmem.Backend{"": m}, "mem:")
		began := time.Now()
		err := s.Login(t.Context())
		if gat.ClassOf(err) != gat.Denied || !strings.Contains(err.Error(), "nobody answered within 5m0s") {
			t.Errorf("got %v (%v), want denied: nobody answered", err, gat.ClassOf(err))
		}
		if d := time.Since(began); d != gat.DefaultAskTimeout || m.Calls("log in") != 1 {
			t.Errorf("gave up after %v and %d logins, want %v and one", d, m.Calls("log in"), gat.DefaultAskTimeout)
		}
	})
}

// TestQuestionsTakeTurns: while one site's question is not answered another one's waits
// without its time running; a site without a question goes on meanwhile.
func TestQuestionsTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		turn := make(chan struct{}, 1)
		asking, most := 0, 0
		ask := func(ctx context.Context, site, _ string, _ bool) (string, error) {
			asking++
			most = max(most, asking)
			defer func() { asking-- }()
			if site == "silent" {
				return never(ctx, site, "", true)
			}
			return "sesame", take(ctx, time.Minute)
		}
		login := func(name, password string) chan error {
			m := gatmem.New()
			m.Password = password
			s := site(t, gat.SiteConfig{Name: name, Ask: ask, Turn: turn}, gatmem.Backend{"": m}, "mem:")
			done := make(chan error, 1)
			go func() { done <- s.Login(t.Context()) }()
			synctest.Wait()
			return done
		}
		began := time.Now()
		silent, patient, free := login("silent", "sesame"), login("patient", "sesame"), login("free", "")
		if err := <-free; err != nil || time.Since(began) != 0 {
			t.Errorf("a site without a question: %v after %v", err, time.Since(began))
		}
		if err := <-silent; gat.ClassOf(err) != gat.Denied {
			t.Errorf("the silent one: %v", err)
		}
		if err := <-patient; err != nil || time.Since(began) != gat.DefaultAskTimeout+time.Minute {
			t.Errorf("the patient one: %v after %v, want it after %v", err, time.Since(began), gat.DefaultAskTimeout+time.Minute)
		}
		if most != 1 {
			t.Errorf("%d questions at once", most)
		}
	})
}

// over is a site over one backend.
func over(t *testing.T, b gat.Backend, cfg gat.SiteConfig) *gat.Site {
	t.Helper()
	cfg.Name, cfg.URLs, cfg.Backends = "das", []*url.URL{parse(t, "mem:")}, []gat.Backend{b}
	s, err := gat.NewSite(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// forgetful asks for what a backend keeps, such as the passphrase of a key.
type forgetful struct{ gatmem.Backend }

func (b forgetful) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.Prompted = nil
	return b.Backend.Open(ctx, t)
}

func TestAnswersThatAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Password = "sesame"
		s := over(t, forgetful{gatmem.Backend{"": m}}, gat.SiteConfig{
			Ask: func(context.Context, string, string, bool) (string, error) { return "sesame", nil }})
		if err := s.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.Break(errors.New("cable cut"))
		synctest.Wait()
		if _, err := s.Status(t.Context(), "j"); err != nil {
			t.Errorf("a login that did not need the user is not renewed: %v", err)
		}
	})
}

// TestDetachedStaysDetached: an explicit login that fails, for whatever reason, does
// not open the way for silent ones.
func TestDetachedStaysDetached(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Password = "sesame"
		asked := 0
		s := site(t, gat.SiteConfig{Ask: func(context.Context, string, string, bool) (string, error) {
			asked++
			return "sesame", nil
		}}, gatmem.Backend{"": m}, "mem:")
		if err := s.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.Break(errors.New("cable cut"))
		synctest.Wait()
		m.Fault("log in", gat.DefaultRetries+1, func(context.Context) error {
			return &gat.Error{Class: gat.Transient, Err: errors.New("no route to the host")}
		})
		if err := s.Login(t.Context()); gat.ClassOf(err) != gat.Transient || asked != 1 {
			t.Errorf("while the cable is cut: %v, asked %d times", err, asked)
		}
		if _, err := s.Status(t.Context(), "j"); !errors.Is(err, gat.ErrDetached) || asked != 1 {
			t.Errorf("after it: %v, asked %d times; want detached", err, asked)
		}
		if err := s.Login(t.Context()); err != nil || asked != 2 {
			t.Errorf("with a new cable: %v, asked %d times", err, asked)
		}
		if _, err := s.Status(t.Context(), "j"); err != nil || asked != 2 {
			t.Errorf("attached again: %v, asked %d times", err, asked)
		}
	})
}

// TestExplicitLoginIsItsCallers: nobody else waits for a login that was asked for, and
// its question goes with who asked.
func TestExplicitLoginIsItsCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Password = "sesame"
		asked, withdrawn := 0, 0
		s := site(t, gat.SiteConfig{Ask: func(ctx context.Context, site, _ string, _ bool) (string, error) {
			if asked++; asked > 1 {
				<-ctx.Done()
				withdrawn++
				return "", ctx.Err()
			}
			return "sesame", nil
		}}, gatmem.Backend{"": m}, "mem:")
		if err := s.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.Break(errors.New("cable cut"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Login(ctx) }()
		synctest.Wait()
		if _, err := s.Status(t.Context(), "j"); !errors.Is(err, gat.ErrDetached) || asked != 2 {
			t.Errorf("while somebody logs in: %v, asked %d times; want detached", err, asked)
		}
		cancel()
		synctest.Wait()
		if err := <-over; !errors.Is(err, context.Canceled) || withdrawn != 1 {
			t.Errorf("cancelled: %v, %d questions withdrawn", err, withdrawn)
		}
		if _, err := s.Status(t.Context(), "j"); !errors.Is(err, gat.ErrDetached) || asked != 2 {
			t.Errorf("afterwards: %v, asked %d times; want detached", err, asked)
		}
	})
}

// TestDetachedBehind: what goes through a detached site comes back with it.
func TestDetachedBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		head, node := gatmem.New(), gatmem.New()
		head.Behind = map[string]*gatmem.Machine{"node1": node}
		head.Password = "sesame"
		t.Cleanup(node.Close)
		s := site(t, gat.SiteConfig{Ask: func(context.Context, string, string, bool) (string, error) { return "sesame", nil }},
			gatmem.Backend{"head": head}, "mem://head")
		in, err := s.Inner(t.Context(), "node1", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		head.Break(errors.New("cable cut"))
		node.Break(errors.New("cable cut"))
		synctest.Wait()
		if _, err := in.Status(t.Context(), "j"); !errors.Is(err, gat.ErrDetached) {
			t.Errorf("behind a detached site: %v, want detached", err)
		}
		if !s.Detached() || in.Detached() {
			t.Errorf("detached: the site %v, want true; what is behind it %v, want false", s.Detached(), in.Detached())
		}
		if err := s.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Status(t.Context(), "j"); err != nil {
			t.Errorf("behind a site that is back: %v", err)
		}
	})
}

// TestServerWaitsLess: a server does not wait as long for an answer as the questions of
// other sites take. Its own is put later, over another connection.
func TestServerWaitsLess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		turn := make(chan struct{}, 1)
		asked := 0
		turn <- struct{}{} // others are asked
		s := over(t, hasty{gatmem.Backend{"": gatmem.New()}}, gat.SiteConfig{Turn: turn, Ask: func(context.Context, string, string, bool) (string, error) {
			asked++
			return "123456", nil
		}})
		time.AfterFunc(5*time.Minute, func() { <-turn })
		if err := s.Login(t.Context()); err != nil || asked != 1 {
			t.Errorf("%v, asked %d times, want once", err, asked)
		}
	})
}

// hasty waits two minutes for an answer, as OpenSSH's server does.
type hasty struct{ gatmem.Backend }

func (b hasty) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.Prompted(ctx)
	grace, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the server hung up"))
	defer cancel()
	if _, err := t.Ask(grace, t.Site, "code", true); err != nil {
		return nil, err
	}
	return b.Backend.Open(ctx, t)
}

// TestAskedOnce: a login that fails after the answer is not tried again by itself.
func TestAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked := 0
		b := failing{gatmem.Backend{"": gatmem.New()}}
		s := over(t, b, gat.SiteConfig{Ask: func(context.Context, string, string, bool) (string, error) {
			asked++
			return "123456", nil
		}})
		for range 3 {
			if _, err := s.Status(t.Context(), "j"); gat.ClassOf(err) != gat.Transient || asked != 1 {
				t.Errorf("%v, asked %d times, want once", err, asked)
			}
		}
		if err := s.Login(t.Context()); gat.ClassOf(err) != gat.Transient || asked != 2 {
			t.Errorf("an explicit login: %v, asked %d times, want twice", err, asked)
		}
	})
}

// failing asks for a code, and then finds that the host behind is down.
type failing struct{ gatmem.Backend }

func (b failing) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.Prompted(ctx)
	if _, err := t.Ask(ctx, t.Site, "code", true); err != nil {
		return nil, err
	}
	return nil, &gat.Error{Class: gat.Transient, Err: errors.New("no route to the host behind")}
}

// TestConfirmation: a login with a code may take longer, for a telephone.
func TestConfirmation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		s := over(t, confirmed{gatmem.Backend{"": m}}, gat.SiteConfig{})
		if err := s.Login(t.Context()); err != nil || !s.Attended() {
			t.Errorf("confirmed after a minute: %v, attended %v", err, s.Attended())
		}
		other := over(t, gatmem.Backend{"": gatmem.New()}, gat.SiteConfig{})
		if err := other.Login(t.Context()); err != nil || other.Attended() {
			t.Errorf("a login that nobody was asked for: %v, attended %v", err, other.Attended())
		}
	})
}

// confirmed has the user confirm the login, which takes a minute.
type confirmed struct{ gatmem.Backend }

func (b confirmed) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.Prompted(ctx)
	if err := take(ctx, time.Minute); err != nil {
		return nil, err
	}
	return b.Backend.Open(ctx, t)
}
