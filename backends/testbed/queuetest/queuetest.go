package queuetest

import (
	"context"
	"crypto/rand"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

const (
	// patience is how long what must happen may take.
	patience = 60 * time.Second
	// every is how often the system is asked for its jobs.
	every = 300 * time.Millisecond
)

// Harness is a cluster and the backend for it.
type Harness struct {
	// Cluster has a directory that its hosts share.
	Cluster *testbed.Cluster
	// Backend serves Scheme.
	Backend gat.Backend
	Scheme  string

	// Submit, Status and Cancel are the system's commands that do these things.
	// Without one, tests with a bad one are skipped.
	Submit, Status, Cancel string

	// Foreign is a well-formed identifier of a job that there is not.
	Foreign gat.JobID

	// Refused are jobs that cannot run in this cluster, by what they ask for.
	Refused map[string]Refusal
	// Waiting are jobs that the system takes and never starts, with the words by
	// which their reason is known.
	Waiting map[string]Refusal

	// Warned is a job that the system warns within some seconds, by a signal, or
	// once Warn, for sh on the head, has run with the job's identifier. Nil skips
	// that test.
	Warned *gat.Resources
	Warn   string

	// Dead are the states that a job may be in when its node has died.
	Dead []gat.State

	// NoMulti, NoInside and NoFiles say what the dialect lacks.
	NoMulti, NoInside, NoFiles bool
	// Blocks says that the submit command is there as long as the job, needs the
	// home directory, and tells neither jobs nor users anything: tests of these
	// things are skipped.
	Blocks bool
}

// Refusal is a job that is not to run, and what must be said about it.
type Refusal struct {
	Ask  gat.Resources
	Says string
}

// Test puts the backend through everything.
func Test(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*site)
		skip bool
	}{
		{"what a job learns", testLearns, false},
		{"files", testFiles, h.NoFiles},
		{"setup", testSetup, false},
		{"several nodes", testNodes, h.NoMulti},
		{"inside", testInside, h.NoInside},
		{"signals", testWarning, h.Warned == nil},
		{"names", testNames, false},
		{"refused", testRefused, len(h.Refused) == 0},
		{"waiting", testWaiting, len(h.Waiting) == 0},
		{"full cluster", testFull, false},
		{"banners", testBanners, h.Submit == ""},
		{"garbage", testGarbage, h.Status == ""},
		{"cancel refused", testCancelRefused, h.Cancel == ""},
		{"odd accounts", testAccounts, h.Blocks},
		{"quota", testQuota, h.Blocks},
		{"many", testMany, h.Blocks},
		{"description", testDescription, false},
		{"no controller", testController, h.Blocks},
		{"head reboots", testReboot, h.Blocks},
		{"node dies", testDeadNode, h.Blocks},
	} {
		if !t.Run(test.name, func(t *testing.T) {
			if test.skip {
				t.Skip("the dialect cannot, or has no such thing")
			}
			s := h.site(t)
			test.run(s)
			s.login.Close()
			h.Cluster.NoLeftovers(t)
		}) {
			t.Fatal("the others are not tried: the cluster may not be what it was")
		}
	}
}

// site is a login in the hands of one test.
type site struct {
	*testing.T
	Harness
	login gat.Login
	ctx   context.Context
}

func (h Harness) site(t *testing.T) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	s := &site{T: t, Harness: h, ctx: ctx}
	s.login = s.open()
	return s
}

// open logs in anew.
func (s *site) open() gat.Login {
	s.Helper()
	target := s.Cluster.Target(s.T, s.Scheme, s.Cluster.Head)
	target.PollEvery = every
	l, err := s.Backend.Open(s.ctx, target)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { l.Close() })
	return l
}

// script makes a job of a script for sh. Its output goes to a file that read
// waits for, where head and nodes both see it.
func (s *site) script(text string) (spec gat.JobSpec, out string) {
	out = path.Join(s.Cluster.SharedDir(), "out-"+rand.Text())
	return gat.JobSpec{Name: "queuetest", Argv: []string{"/bin/sh", "-c", text}, Stderr: out}, out
}

// sleeper is a job that does nothing for a long time and says when it begins.
func (s *site) sleeper() gat.JobSpec {
	return gat.JobSpec{Name: "queuetest", Argv: []string{"/bin/sleep", "1009"}}
}

func (s *site) submit(spec gat.JobSpec) []gat.JobID {
	s.Helper()
	ids, err := s.login.Submit(s.ctx, spec)
	s.Cleanup(func() { // the login of then may be gone
		if l, err := s.Backend.Open(context.Background(), s.target()); err == nil {
			l.Cancel(context.Background(), ids...)
			l.Close()
		}
	})
	if err != nil {
		s.Fatalf("submit: %v", err)
	}
	if len(ids) != max(spec.Count, 1) {
		s.Fatalf("submit gives %d identifiers, want %d", len(ids), max(spec.Count, 1))
	}
	return ids
}

func (s *site) target() gat.Target { return s.Cluster.Target(s.T, s.Scheme, s.Cluster.Head) }

// until asks for the jobs' states until all of them are as wanted. An error of
// class Transient is no answer; any other is the end.
func (s *site) until(what string, ids []gat.JobID, ok func(gat.JobStatus) bool) []gat.JobStatus {
	s.Helper()
	deadline := time.Now().Add(patience)
	var all []gat.JobStatus
	for {
		now, err := s.login.Status(s.ctx, ids...)
		switch {
		case err == nil:
			all = now
			if !slices.ContainsFunc(all, func(st gat.JobStatus) bool { return !ok(st) }) {
				return all
			}
		case gat.ClassOf(err) != gat.Transient:
			s.Fatalf("status: %v", err)
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s: not so after %v: %v (%v)", what, patience, all, err)
		}
		s.wait(every)
	}
}

func (s *site) runs(ids []gat.JobID) {
	s.Helper()
	s.until("the jobs run", ids, func(st gat.JobStatus) bool {
		if st.State.Final() {
			s.Fatalf("job %s is %v: %s", st.ID, st.State, st.Reason)
		}
		return st.State == gat.Running
	})
}

func (s *site) ends(ids []gat.JobID) []gat.JobStatus {
	s.Helper()
	return s.until("the jobs end", ids, func(st gat.JobStatus) bool {
		return st.State.Final() || st.State == gat.Unknown
	})
}

// done waits for jobs that are to succeed.
func (s *site) done(ids []gat.JobID) {
	s.Helper()
	for _, st := range s.ends(ids) {
		if st.State != gat.Done && st.State != gat.Unknown {
			s.Errorf("job %s is %v, exit %d: %s", st.ID, st.State, st.Exit, st.Reason)
		}
	}
}

func (s *site) cancel(ids []gat.JobID) {
	s.Helper()
	if err := s.login.Cancel(s.ctx, ids...); err != nil {
		s.Fatalf("cancel: %v", err)
	}
	for _, st := range s.ends(ids) {
		if st.State == gat.Done {
			s.Errorf("a cancelled job is %v", st)
		}
	}
}

// wait waits for a moment.
func (s *site) wait(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.Fatal(s.ctx.Err())
	}
}

// sh runs a script as the user on the head, which is not a login.
func (s *site) sh(text string) string {
	s.Helper()
	out, err := s.Cluster.Head.ExecAs(s.ctx, s.Cluster.Head.User, "sh", "-c", text)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// read waits for a job's output to hold text, removes it and returns it.
func (s *site) read(file, text string) string {
	s.Helper()
	out := s.await(file, text)
	s.sh("rm -f " + file)
	return out
}

// await is read, and leaves the file.
func (s *site) await(file, text string) string {
	s.Helper()
	for deadline := time.Now().Add(patience); ; {
		out := s.sh("cat " + file + " 2>/dev/null || true")
		if strings.Contains(out, text) {
			return out
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s holds %q, want %q in it", file, out, text)
		}
		s.wait(100 * time.Millisecond)
	}
}

// refused fails the test unless err is of the class and says the words.
func (s *site) refused(err error, class gat.Class, says, of string) {
	s.Helper()
	switch {
	case err == nil:
		s.Errorf("%s: no error, want one of class %v", of, class)
	case gat.ClassOf(err) != class || !strings.Contains(err.Error(), says):
		s.Errorf("%s: error of class %v: %v; want class %v and %q", of, gat.ClassOf(err), err, class, says)
	}
}
