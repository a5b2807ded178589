package job_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

var (
	self  = wire.NodeID{1}
	pilot = wire.NodeID{2}
	id    = wire.JobID{3}
)

func spec(want int) job.Spec {
	return job.Spec{ID: id, Want: want, Program: wire.Program{Argv: []string{"app"}}}
}

func start(t *testing.T, s job.Spec) (*job.Primary, *job.Effects) {
	t.Helper()
	p, err := job.NewPrimary(0, s, self, 1)
	if err != nil {
		t.Fatal(err)
	}
	fx := new(job.Effects)
	p.Tick(0, fx)
	p.Claim(0, pilot, "site", &wire.Claim{Job: id, Epoch: 1, Seq: 1, Workers: uint32(s.Want)}, fx)
	return p, fx
}

func status(rank, attempt uint32, exit wire.Exit) wire.Status {
	return wire.Status{Attempt: wire.Attempt{Rank: rank, Attempt: attempt}, State: wire.WorkerExited, Result: &wire.Result{Exit: exit}}
}

// TestVerdict holds the exit statuses that scripts rely on.
func TestVerdict(t *testing.T) {
	code := func(c int32) wire.Exit { return wire.Exit{Reason: wire.ExitProgram, Code: c} }
	signal := func(s uint8) wire.Exit { return wire.Exit{Reason: wire.ExitProgram, Signal: s} }
	lost := wire.Exit{Reason: wire.ExitLost}
	for name, tt := range map[string]struct {
		exits   []wire.Exit
		outcome job.Outcome
		status  int
	}{
		"all well":                {[]wire.Exit{code(0), code(0)}, job.OK, 0},
		"one fails":               {[]wire.Exit{code(0), code(3)}, job.App, 3},
		"all fail the same":       {[]wire.Exit{code(7), code(7), code(7)}, job.App, 7},
		"failures that differ":    {[]wire.Exit{code(7), code(3), code(7)}, job.App, 1},
		"a signal":                {[]wire.Exit{signal(9), code(0)}, job.App, 137},
		"the same said otherwise": {[]wire.Exit{signal(9), code(137)}, job.App, 137},
		"a status like ours":      {[]wire.Exit{code(130)}, job.App, 130},
		"one is lost":             {[]wire.Exit{code(0), lost}, job.OK, 0},
		"one is lost, one fails":  {[]wire.Exit{code(5), lost}, job.App, 5},
		"all are lost":            {[]wire.Exit{lost, lost}, job.Sites, 3},
	} {
		s := spec(len(tt.exits))
		s.OnFailure = job.Ignore
		p, fx := start(t, s)
		for rank, exit := range tt.exits {
			p.Report(time.Second, pilot, &wire.Report{Job: id, Epoch: 1, Seq: uint64(rank + 1), Workers: []wire.Status{status(uint32(rank), 1, exit)}}, fx)
		}
		for _, c := range fx.Collects {
			p.Collected(2*time.Second, c.Key, "", fx)
		}
		if end := p.Ended(); end == nil || end.Outcome != tt.outcome || end.Exit != tt.status {
			t.Errorf("%s: %+v, want %v with exit status %d", name, end, tt.outcome, tt.status)
		}
	}
}

func TestCancel(t *testing.T) {
	for outcome, want := range map[job.Outcome]int{job.Limit: 4, job.Interrupted: 130, job.Sites: 3} {
		p, fx := start(t, spec(2))
		p.Cancel(time.Second, outcome, false, fx)
		if end := p.Ended(); end == nil || end.Exit != want || end.Outcome != outcome {
			t.Errorf("%v: ended %+v, want exit status %d", outcome, end, want)
		}
		if p.Finished() {
			t.Errorf("%v: finished before the pilot knows", outcome)
		}
		p.Ack(time.Second, pilot, &wire.Ack{Job: id, Of: wire.KindClosed}, fx)
		if !p.Finished() {
			t.Errorf("%v: not finished, though the pilot knows", outcome)
		}
	}
}

// TestCancelBound: a job that is stopped gracefully ends even when nobody answers.
func TestCancelBound(t *testing.T) {
	p, fx := start(t, spec(2))
	p.Cancel(time.Second, job.Interrupted, true, fx)
	for now := time.Second; p.Ended() == nil; now = max(now+1, p.Next()) {
		if now > 2*time.Minute {
			t.Fatal("not ended after two minutes")
		}
		p.Tick(now, fx)
	}
}

// TestOldAttempt: what an attempt that was replaced reports is answered with a
// Stop and counts for nothing.
func TestOldAttempt(t *testing.T) {
	p, fx := start(t, spec(1))
	p.PilotDown(time.Second, pilot, "gone", fx)
	other := wire.NodeID{9}
	p.Claim(2*time.Second, other, "site", &wire.Claim{Job: id, Seq: 1, Workers: 1}, fx)
	*fx = job.Effects{}
	p.Report(3*time.Second, pilot, &wire.Report{Job: id, Seq: 1, Workers: []wire.Status{status(0, 1, wire.Exit{Reason: wire.ExitProgram})}}, fx)
	if len(fx.Collects) != 0 || len(fx.Updates) != 0 {
		t.Errorf("the old attempt counts: %+v", fx)
	}
	stopped := false
	for _, s := range fx.Sends {
		if m, ok := s.Msg.(*wire.Stop); ok && s.To == pilot && m.Workers[0] == (wire.Attempt{Rank: 0, Attempt: 1}) {
			stopped = true
		}
	}
	if !stopped {
		t.Errorf("the old attempt is not stopped: %+v", fx.Sends)
	}
}

// TestEndless: a rank that keeps failing through us ends the job.
func TestEndless(t *testing.T) {
	p, fx := start(t, spec(1))
	now := time.Second
	for attempt := uint32(1); p.Ended() == nil; attempt++ {
		if attempt > job.MaxFails {
			t.Fatalf("%d attempts", attempt)
		}
		n := wire.NodeID{2, byte(attempt)}
		p.Report(now, lastGranted(t, fx), &wire.Report{Job: id, Seq: 1, Workers: []wire.Status{status(0, attempt, wire.Exit{Reason: wire.ExitKilled, Text: "over its memory"})}}, fx)
		now += time.Second
		p.Claim(now, n, "site", &wire.Claim{Job: id, Seq: 1, Workers: 1}, fx)
	}
	if end := p.Ended(); end.Outcome != job.Sites || end.Exit != job.ExitSites || end.Reason == "" {
		t.Errorf("ended %+v", end)
	}
}

func lastGranted(t *testing.T, fx *job.Effects) wire.NodeID {
	t.Helper()
	for i := len(fx.Updates) - 1; i >= 0; i-- {
		if fx.Updates[i].Change == job.Granted {
			return fx.Updates[i].Node
		}
	}
	t.Fatal("nothing was granted")
	return wire.NodeID{}
}

func TestSpec(t *testing.T) {
	for name, change := range map[string]func(*job.Spec){
		"no identity":         func(s *job.Spec) { s.ID = wire.JobID{} },
		"no workers":          func(s *job.Spec) { s.Want = 0 },
		"too many workers":    func(s *job.Spec) { s.Want = wire.MaxRanks + 1 },
		"minimum over wanted": func(s *job.Spec) { s.Min = 3 },
		"negative minimum":    func(s *job.Spec) { s.Min = -1 },
		"unknown policy":      func(s *job.Spec) { s.OnFailure = 9 },
		"negative retries":    func(s *job.Spec) { s.Retries = -1 },
		"tiny lease":          func(s *job.Spec) { s.Lease = time.Millisecond },
		"no program":          func(s *job.Spec) { s.Program.Argv = nil },
		"bad requirements":    func(s *job.Spec) { s.Needs.Memory = -1 },
	} {
		s := spec(2)
		change(&s)
		if _, err := job.NewPrimary(0, s, self, 1); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestPolicyNames(t *testing.T) {
	for _, p := range []job.Policy{job.Replace, job.Ignore, job.Cancel} {
		if got, err := job.ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := job.ParsePolicy("restart"); err == nil {
		t.Error("restart is taken for a policy")
	}
}
