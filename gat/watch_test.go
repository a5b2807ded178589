package gat_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// follow returns the states that watching a job gives.
func follow(t *testing.T, s *gat.Site, id gat.JobID) []gat.State {
	t.Helper()
	var states []gat.State
	for st, err := range s.Watch(t.Context(), id) {
		if err != nil {
			t.Errorf("watch %s: %v", id, err)
			break
		}
		states = append(states, st.State)
	}
	return states
}

func TestStatesMoveForward(t *testing.T) {
	const (
		u, q, h, r = gat.Unknown, gat.Queued, gat.Held, gat.Running
		d, f, c    = gat.Done, gat.Failed, gat.Cancelled
	)
	for name, test := range map[string]struct{ told, want []gat.State }{
		"as it should be": {[]gat.State{q, r, d}, []gat.State{q, r, d}},
		"same again":      {[]gat.State{q, q, r, r, f}, []gat.State{q, r, f}},
		"confused queue":  {[]gat.State{r, q, u, h, u, u, r, d}, []gat.State{r, d}},
		"not there yet":   {[]gat.State{u, u, q, r, c}, []gat.State{u, q, r, c}},
		"lost":            {[]gat.State{r, u, u, u}, []gat.State{r, f}},
		"never there":     {[]gat.State{u}, []gat.State{u, f}},
	} {
		bubbleCase(t, name, func(t *testing.T) {
			m := gatmem.New()
			s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
			m.Report("j", test.told...)
			if diff := cmp.Diff(test.want, follow(t, s, "j")); diff != "" {
				t.Errorf("told %v (-want +got):\n%s", test.told, diff)
			}
			// The end stays the end, also for who comes later.
			m.Report("j", r)
			last := test.want[len(test.want)-1:]
			if diff := cmp.Diff(last, follow(t, s, "j")); diff != "" {
				t.Errorf("second watcher (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLostJobHasReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.ForgetEndedJobs = true
		s := site(t, gat.SiteConfig{Grace: 2}, gatmem.Backend{"": m}, "mem:")
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("exit", "0")})
		if err != nil {
			t.Fatal(err)
		}
		var last gat.JobStatus
		for st := range s.Watch(t.Context(), ids...) {
			last = st
		}
		want := gat.JobStatus{ID: ids[0], State: gat.Failed, Exit: -1, Reason: "the site has no record of the job any more"}
		if last != want {
			t.Errorf("got %v, want %v", last, want)
		}
	})
}

func TestOnePollForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.HoldJobs = true
		s := site(t, gat.SiteConfig{PollEvery: 10 * time.Second}, gatmem.Backend{"": m}, "mem:")
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("exit", "3"), Count: 50})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() { // each job alone, and with its neighbours
				ended := make(map[gat.JobID]int)
				for st, err := range s.Watch(t.Context(), ids[max(i-1, 0):i+1]...) {
					if err != nil {
						t.Error(err)
					}
					if st.State.Final() {
						ended[st.ID] = st.Exit
					}
				}
				if ended[id] != 3 {
					t.Errorf("job %s: watched to the end, got %v", id, ended)
				}
			})
		}
		take(t.Context(), 65*time.Second) // in the bubble: polls at 0, 10, ... 60
		if n := m.Calls("status"); n != 7 {
			t.Errorf("%d polls in 65 s, want 7", n)
		}
		for _, id := range ids {
			m.Start(id)
		}
		wg.Wait()
		if n := m.Calls("status"); n != 8 {
			t.Errorf("%d polls in all, want 8", n)
		}
		take(t.Context(), time.Hour)
		if n := m.Calls("status"); n != 8 {
			t.Errorf("%d polls with nobody watching", n-8)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		m.Report("j", gat.Running)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range s.Watch(ctx, "j") {
			cancel() // the only thing told; then it must end
		}
		for range s.Watch(t.Context()) {
			t.Error("watching nothing gives something")
		}
		for _, err := range s.Watch(t.Context(), "a b") {
			if gat.ClassOf(err) != gat.Invalid {
				t.Errorf("bad identifier: %v", err)
			}
		}
		closed := make(chan error, 1)
		go func() {
			var last error
			for _, err := range s.Watch(t.Context(), "j") {
				last = err
			}
			closed <- last
		}()
		synctest.Wait()
		s.Close()
		if err := <-closed; !errors.Is(err, gat.ErrClosed) {
			t.Errorf("closed site: %v", err)
		}
		for _, err := range s.Watch(t.Context(), "j") {
			if !errors.Is(err, gat.ErrClosed) {
				t.Errorf("watch at a closed site: %v", err)
			}
		}
	})
}

func TestWatchGoesOnAfterErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		m.Fault("status", 2, gatmem.Fail(gat.Permanent, "queue server away"))
		m.Report("j", gat.Running, gat.Done)
		var got []string
		for st, err := range s.Watch(t.Context(), "j") {
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			got = append(got, st.State.String())
		}
		away := "site das: status mem: queue server away"
		if diff := cmp.Diff([]string{away, away, "running", "done"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A job's home is asked first; that another URL does not know it proves nothing.
func TestStatusAtHome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		s := site(t, gat.SiteConfig{Retries: -1}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		if err != nil {
			t.Fatal(err)
		}
		a.Fault("status", 1, gatmem.Fail(gat.Permanent, "away"))
		if all, err := s.Status(t.Context(), ids...); err == nil {
			t.Errorf("the home did not answer, and status is %v", all)
		}
		if all, err := s.Status(t.Context(), ids...); err != nil || all[0].State != gat.Running {
			t.Errorf("status is %v, %v", all, err)
		}
		// Who does not know the home finds the job nevertheless.
		other := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b}, "mem://b", "mem://a")
		if err := other.Cancel(t.Context(), ids[0], "never-seen"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if all, err := other.Status(t.Context(), ids...); err != nil || all[0].State != gat.Cancelled {
			t.Errorf("status is %v, %v", all, err)
		}
	})
}

// One URL that cannot cancel does not save the jobs of the others.
func TestCancelGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		b.Report("job.1.mem", gat.Unknown)
		s := site(t, gat.SiteConfig{Retries: -1}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		full := gatmem.Fail(gat.Denied, "full")
		onA, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		if err != nil {
			t.Fatal(err)
		}
		a.Fault("submit", -1, full)
		onB, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		if err != nil {
			t.Fatal(err)
		}
		a.Fault("cancel", 1, gatmem.Fail(gat.Denied, "not today"))
		err = s.Cancel(t.Context(), append(onA, onB...)...)
		if want := "site das: cancel mem://a: not today"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		synctest.Wait()
		if left := b.Find("sleep"); len(left) > 0 {
			t.Errorf("left on b: %q", left)
		}
		if len(a.Find("sleep")) != 1 {
			t.Error("the job on a was cancelled after all")
		}
	})
}
