package gat_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// slow is machines whose logins take a second, and counts how many are made at once.
type slow struct {
	gatmem.Backend

	mu        sync.Mutex
	now, most int
}

func (b *slow) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	defer b.during(time.Second)()
	l, err := b.Backend.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return slowLogin{l, l.(gat.Inward), b}, nil
}

// during counts a login that takes some time.
func (b *slow) during(d time.Duration) func() {
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	time.Sleep(d)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now--
	}
}

type slowLogin struct {
	gat.Login
	gat.Inward
	b *slow
}

func (l slowLogin) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	defer l.b.during(time.Second)()
	return l.Inward.Inner(ctx, host, dial)
}

// crowd returns n sites of machines of their own over one backend.
func crowd(t *testing.T, b *slow, n int, change func(*gatmem.Machine), cfg gat.SiteConfig) []*gat.Site {
	t.Helper()
	b.Backend = make(gatmem.Backend)
	var sites []*gat.Site
	for i := range n {
		m := gatmem.New()
		if change != nil {
			change(m)
		}
		name := fmt.Sprintf("m%d", i)
		b.Backend[name] = m
		cfg.Name, cfg.URLs, cfg.Backends = name, []*url.URL{parse(t, "mem://"+name)}, []gat.Backend{b}
		s, err := gat.NewSite(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(); m.Close() })
		sites = append(sites, s)
	}
	return sites
}

func TestGateBoundsLogins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := new(slow)
		// The wait at the gate is longer than a login may take, and does not count.
		sites := crowd(t, b, 40, nil, gat.SiteConfig{Gate: gat.NewGate(10), LoginTimeout: 2 * time.Second, Retries: -1})
		began := time.Now()
		var wg sync.WaitGroup
		for _, s := range sites {
			wg.Go(func() {
				if err := s.Login(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); b.most != 10 || took != 4*time.Second {
			t.Errorf("at most %d at once in %v, want 10 in 4s", b.most, took)
		}
	})
}

// A login further waits for the login it goes through without taking its room, and
// takes room of its own for itself.
func TestGateAndLoginsFurther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := new(slow)
		inner := gatmem.New()
		t.Cleanup(inner.Close)
		sites := crowd(t, b, 1, func(m *gatmem.Machine) {
			m.Behind = make(map[string]*gatmem.Machine)
			for i := range 50 {
				m.Behind[fmt.Sprintf("inner%d", i)] = inner
			}
		}, gat.SiteConfig{Gate: gat.NewGate(1), LoginTimeout: 2 * time.Second})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				in, err := sites[0].Inner(t.Context(), fmt.Sprintf("inner%d", i), nil)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { in.Close() })
			})
		}
		wg.Wait()
		if took := time.Since(began); b.most != 1 || took != 51*time.Second {
			t.Errorf("at most %d at once in %v, want 1 in 51s", b.most, took)
		}
	})
}

func TestGateIsFreeWhileTheUserIsAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := new(slow)
		answers := make(chan string)
		ask := func(ctx context.Context, site, question string, secret bool) (string, error) { return <-answers, nil }
		sites := crowd(t, b, 2, nil, gat.SiteConfig{Gate: gat.NewGate(1), Ask: ask})
		b.Backend["m0"].Password = "open sesame"
		asked := make(chan error, 1)
		go func() { asked <- sites[0].Login(t.Context()) }()
		synctest.Wait()
		time.Sleep(time.Minute) // longer than a login may take
		if err := sites[1].Login(t.Context()); err != nil {
			t.Errorf("while another one is asked: %v", err)
		}
		answers <- "open sesame"
		if err := <-asked; err != nil {
			t.Error(err)
		}
		// The room was given up once only.
		for _, s := range crowd(t, b, 2, nil, gat.SiteConfig{Gate: gat.NewGate(1)}) {
			if err := s.Login(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGateIsLeftWhenLoginsFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := new(slow)
		gate := gat.NewGate(1)
		sites := crowd(t, b, 3, func(m *gatmem.Machine) {
			m.Fault("log in", -1, gatmem.Fail(gat.Denied, "no"))
		}, gat.SiteConfig{Gate: gate})
		for _, s := range sites {
			if err := s.Login(t.Context()); gat.ClassOf(err) != gat.Denied {
				t.Errorf("got %v, want a refusal", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		leave, err := gate.Enter(ctx)
		if err != nil {
			t.Fatalf("the gate is taken for good: %v", err)
		}
		if _, err := gate.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("two inside: %v", err)
		}
		leave()
	})
}

// A login that waits for others takes no room meanwhile, and waits for room again
// when it goes on.
func TestGateAndWaitingForOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := &queueing{slow: new(slow), turn: make(chan struct{}, 3)}
		gate := gat.NewGate(2)
		var sites []*gat.Site
		b.Backend = make(gatmem.Backend)
		for i := range 12 {
			m := gatmem.New()
			name := fmt.Sprintf("m%d", i)
			b.Backend[name] = m
			s, err := gat.NewSite(gat.SiteConfig{Name: name, URLs: []*url.URL{parse(t, "mem://"+name)}, Backends: []gat.Backend{b}, Gate: gate, LoginTimeout: 2 * time.Second, Retries: -1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close(); m.Close() })
			sites = append(sites, s)
		}
		began := time.Now()
		var wg sync.WaitGroup
		for _, s := range sites {
			wg.Go(func() {
				if err := s.Login(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); b.most != 2 || took != 6*time.Second {
			t.Errorf("at most %d at once in %v, want 2 in 6s", b.most, took)
		}
	})
}

// queueing is machines whose logins take turns by themselves, too.
type queueing struct {
	*slow
	turn chan struct{}
}

func (b *queueing) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.Pause(ctx, func() { b.turn <- struct{}{} })
	defer func() { <-b.turn }()
	return b.slow.Open(ctx, t)
}
