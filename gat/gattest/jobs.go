package gattest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

var jobTests = map[string]func(*site){
	"arguments": func(s *site) {
		out := s.file()
		ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolArgs, awkward...), Stderr: out})
		s.end(ids)
		if got, err := s.read(out); err != nil || string(got) != list(awkward) {
			s.Errorf("arguments arrive as\n%q (%v), want\n%q", got, err, list(awkward))
		}
	},

	"environment": func(s *site) {
		outs := make(map[string]string)
		var ids []gat.JobID
		for _, value := range awkward {
			if strings.Contains(value, "\x01") || strings.Contains(value, "\xff") {
				continue // a queueing system may refuse these
			}
			outs[value] = s.file()
			ids = append(ids, s.submit(gat.JobSpec{Argv: s.Tool(ToolEnv, "GATTEST_V"), Env: []string{"GATTEST_V=" + value}, Stderr: outs[value]})...)
		}
		s.end(ids)
		for value, out := range outs {
			if got, err := s.read(out); err != nil || string(got) != value {
				s.Errorf("environment value %q arrives as %q (%v)", value, got, err)
			}
		}
	},

	"directory": func(s *site) {
		out := s.file()
		s.end(s.submit(gat.JobSpec{Argv: s.Tool(ToolPwd), Dir: s.Dir, Stderr: out}))
		if got, err := s.read(out); err != nil || string(got) != s.Dir+"\n" {
			s.Errorf("the job's directory is %q (%v), want %q", got, err, s.Dir)
		}
	},

	"output and error share a file": func(s *site) {
		out := s.file()
		s.end(s.submit(gat.JobSpec{Argv: s.Tool(ToolSplit, "one", "two"), Stderr: out}))
		if got, err := s.read(out); err != nil || string(got) != "onetwo" {
			s.Errorf("output file holds %q (%v), want %q", got, err, "onetwo")
		}
	},

	"exit status": func(s *site) {
		codes := []int{0, 3, 255, 128 + 9}
		var ids []gat.JobID
		for _, code := range codes[:3] {
			ids = append(ids, s.submit(gat.JobSpec{Argv: s.Tool(ToolExit, fmt.Sprint(code))})...)
		}
		ids = append(ids, s.submit(gat.JobSpec{Argv: s.Tool(ToolSignal, "9")})...)
		for i, st := range s.end(ids) {
			s.exited(st, codes[i])
		}
	},

	"missing program": func(s *site) {
		ids, err := s.Submit(s.ctx, gat.JobSpec{Argv: []string{"/no/such/program"}})
		if err != nil {
			return // said at once: best
		}
		if st := s.end(ids)[0]; st.State == gat.Done {
			s.Errorf("a job whose program does not exist is %v", st)
		}
	},

	"count and order": func(s *site) {
		env, mark := s.mark()
		ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolSleep), Count: 3, Env: env, Name: "three.of_a-kind"})
		if len(ids) != 3 || ids[0] == ids[1] || ids[1] == ids[2] || ids[0] == ids[2] {
			s.Fatalf("submit of 3 jobs returns %q", ids)
		}
		for _, id := range ids {
			if err := id.Validate(); err != nil {
				s.Error(err)
			}
		}
		s.runs(ids)
		asked := []gat.JobID{ids[2], s.Foreign, ids[0], ids[1], ids[2]}
		all, err := s.Status(s.ctx, asked...)
		if err != nil || len(all) != len(asked) {
			s.Fatalf("status of %q is %v, %v", asked, all, err)
		}
		for i, st := range all {
			if st.ID != asked[i] {
				s.Errorf("status %d is of %q, want %q", i, st.ID, asked[i])
			}
			if foreign := asked[i] == s.Foreign; foreign != (st.State == gat.Unknown) {
				s.Errorf("status of %q is %v", st.ID, st.State)
			}
		}
		s.cancel(ids[1:2])
		s.runs([]gat.JobID{ids[0], ids[2]}) // only the one that was meant
		s.cancel(ids)
		s.gone(mark)
	},

	"nothing asked": func(s *site) {
		if all, err := s.Status(s.ctx); err != nil || len(all) != 0 {
			s.Errorf("status of nothing is %v, %v", all, err)
		}
		if err := s.Cancel(s.ctx); err != nil {
			s.Errorf("cancel nothing: %v", err)
		}
	},

	"cancel": func(s *site) {
		env, mark := s.mark()
		ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolTree), Env: env})
		s.found(mark, 2)
		s.cancel(ids)
		s.gone(mark)
		for range 2 { // once more, and with others that are none
			if err := s.Cancel(s.ctx, append(ids, s.Foreign)...); err != nil {
				s.Errorf("cancel again: %v", err)
			}
		}
	},

	"cancel those who left": func(s *site) {
		if s.NoSweep || s.Find == nil {
			s.Skip("the middleware does not find processes that left their session, or the harness cannot look")
		}
		env, mark := s.mark()
		ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolEscape), Env: env})
		s.found(mark, 3)
		s.cancel(ids)
		s.gone(mark)
	},

	"bad identifiers": func(s *site) {
		env, mark := s.mark()
		bystander := s.submit(gat.JobSpec{Argv: s.Tool(ToolSleep), Env: env})
		trap := s.file()
		for _, id := range []string{
			"", " ", "a b", "a\nb", "é", strings.Repeat("9", 300), "\x00",
			"*", "$(touch${IFS}" + trap + ")", "`touch${IFS}" + trap + "`", ";touch${IFS}" + trap, "|touch${IFS}" + trap,
			"../../../../etc/passwd", "--help", "-", "--", "%s", "99999999999999999999999999", "0x10", "--all",
			string(bystander[0]) + ";touch${IFS}" + trap, string(bystander[0]) + "9", string(bystander[0]) + ",",
		} {
			all, err := s.Status(s.ctx, gat.JobID(id))
			if err != nil {
				s.class(err, gat.Invalid, fmt.Sprintf("status of %q", id))
			} else if len(all) != 1 || all[0].State != gat.Unknown {
				s.Errorf("status of %q is %v, want unknown", id, all)
			}
			if err := s.Cancel(s.ctx, gat.JobID(id)); err != nil {
				s.class(err, gat.Invalid, fmt.Sprintf("cancel %q", id))
			}
		}
		s.runs(bystander)
		if _, err := s.read(trap); err == nil {
			s.Error("an identifier was run as a command")
		}
		s.cancel(bystander)
		s.gone(mark)
	},

	"bad specifications": func(s *site) {
		good := s.Tool(ToolExit, "0")
		for name, spec := range map[string]gat.JobSpec{
			"no program":      {},
			"relative":        {Argv: []string{"sh"}},
			"NUL argument":    {Argv: append(s.Tool(ToolArgs), "a\x00b")},
			"NUL environment": {Argv: good, Env: []string{"A=a\x00b"}},
			"no name":         {Argv: good, Env: []string{"=x"}},
			"name":            {Argv: good, Name: "a b;c"},
			"count":           {Argv: good, Count: -1},
			"long input":      {Argv: good, Stdin: make([]byte, gat.MaxStdin+1)},
			"relative output": {Argv: good, Stderr: "out"},
		} {
			ids, err := s.Submit(s.ctx, spec)
			s.class(err, gat.Invalid, "submit with "+name)
			if len(ids) > 0 {
				s.Errorf("submit with %s starts %q", name, ids)
			}
		}
	},

	"outlives its login": func(s *site) { testJobOutlivesLogin(s, s.again) },

	"input": func(s *site) {
		data := make([]byte, gat.MaxStdin)
		rand.Read(data)
		for _, data := range [][]byte{nil, []byte("line\n"), data} {
			file := s.file()
			s.end(s.submit(gat.JobSpec{Argv: s.Tool(ToolSave, file), Stdin: data}))
			if got, err := s.read(file); err != nil || !bytes.Equal(got, data) {
				s.Errorf("the job reads %d bytes (%v), not the %d it was given", len(got), err, len(data))
			}
		}
	},

	"input for each": func(s *site) {
		out := s.file()
		s.end(s.submit(gat.JobSpec{Argv: s.Tool(ToolCat), Count: 2, Stdin: []byte("twice "), Stderr: out}))
		if got, err := s.read(out); err != nil || string(got) != "twice twice " {
			s.Errorf("two jobs read %q (%v), want their input each", got, err)
		}
	},

	"secret": func(s *site) {
		if s.Find == nil {
			s.Skip("the harness cannot look at processes")
		}
		secret, file := "secret-"+rand.Text(), s.file()
		env, mark := s.mark()
		ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolHold, file), Env: env, Stdin: []byte(secret)})
		s.eventually("the secret arrives", func() bool {
			got, _ := s.read(file)
			return string(got) == secret
		})
		s.found(mark, 1)
		if seen := s.Find(secret); len(seen) > 0 {
			s.Errorf("the secret can be seen in %q", seen)
		}
		s.cancel(ids)
		s.gone(mark)
	},
}

func testJobOutlivesLogin(s *site, again func() *site) {
	env, mark := s.mark()
	ids := s.submit(gat.JobSpec{Argv: s.Tool(ToolSleep), Env: env, Stdin: []byte("unread")})
	s.runs(ids)
	s.Close()
	later := again()
	later.runs(ids)
	later.cancel(ids)
	later.gone(mark)
}

// submit submits, and cancels at the end of the test what is left.
func (s *site) submit(spec gat.JobSpec) []gat.JobID {
	s.Helper()
	ids, err := s.Submit(s.ctx, spec)
	s.Cleanup(func() { s.Cancel(s.ctx, ids...) })
	if err != nil {
		s.Fatalf("submit %q: %v", spec.Argv, err)
	}
	if want := max(spec.Count, 1); len(ids) != want {
		s.Fatalf("submit returns %d identifiers, want %d", len(ids), want)
	}
	return ids
}

func (s *site) status(ids []gat.JobID) []gat.JobStatus {
	s.Helper()
	all, err := s.Status(s.ctx, ids...)
	if err != nil {
		s.Fatalf("status: %v", err)
	}
	if len(all) != len(ids) {
		s.Fatalf("status of %d jobs has %d answers", len(ids), len(all))
	}
	return all
}

// end waits until all the jobs ended. A middleware may forget those that did.
func (s *site) end(ids []gat.JobID) []gat.JobStatus {
	s.Helper()
	var all []gat.JobStatus
	s.eventually("the jobs end", func() bool {
		all = s.status(ids)
		for _, st := range all {
			if st.State != gat.Unknown && !st.State.Final() {
				return false
			}
		}
		return true
	})
	return all
}

// runs waits until all the jobs run, and fails when one has ended.
func (s *site) runs(ids []gat.JobID) {
	s.Helper()
	s.eventually("the jobs run", func() bool {
		running := 0
		for _, st := range s.status(ids) {
			switch {
			case st.State == gat.Running:
				running++
			case st.State == gat.Unknown || st.State.Final():
				s.Fatalf("job %v is %v, want it to run", st.ID, st)
			}
		}
		return running == len(ids)
	})
}

// cancel cancels jobs and waits for their end.
func (s *site) cancel(ids []gat.JobID) {
	s.Helper()
	if err := s.Cancel(s.ctx, ids...); err != nil {
		s.Fatalf("cancel: %v", err)
	}
	for _, st := range s.end(ids) {
		if st.State == gat.Done {
			s.Errorf("a cancelled job is %v", st)
		}
	}
}

// exited checks how a job ended, as far as its middleware knows.
func (s *site) exited(st gat.JobStatus, code int) {
	s.Helper()
	switch {
	case st.State == gat.Unknown || st.Exit == -1:
		s.Logf("the middleware does not tell exit statuses (%v)", st)
	case st.Exit != code || (code == 0) != (st.State == gat.Done):
		s.Errorf("a job that ended with status %d is %v", code, st)
	}
}
