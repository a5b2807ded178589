package queuetest

import (
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// testRefused checks that what cannot run is refused in words that name it,
// whether the system refuses it or would let it wait for ever.
func testRefused(s *site) {
	for name, r := range s.Refused {
		spec := s.sleeper()
		spec.Resources = r.Ask
		ids, err := s.login.Submit(s.ctx, spec)
		s.refused(err, gat.Invalid, r.Says, name)
		if len(ids) > 0 {
			s.Errorf("%s: jobs %q are in the queue", name, ids)
			s.login.Cancel(s.ctx, ids...)
		}
	}
}

// testWaiting checks that a job that will not start is Held, with the reason.
func testWaiting(s *site) {
	for name, r := range s.Waiting {
		spec := s.sleeper()
		spec.Resources = r.Ask
		ids := s.submit(spec)
		all := s.until(name+" is held", ids, func(st gat.JobStatus) bool { return st.State == gat.Held })
		if !strings.Contains(all[0].Reason, r.Says) {
			s.Errorf("%s: held because of %q, want %q", name, all[0].Reason, r.Says)
		}
		s.cancel(ids)
	}
}

// testFull checks that to wait for others is to be Queued.
func testFull(s *site) {
	free := s.Cluster.Fill(s.T, 2*patience)
	ids := s.submit(s.sleeper())
	for range 5 {
		s.until("the job waits", ids, func(st gat.JobStatus) bool {
			if st.State != gat.Queued {
				s.Fatalf("while the cluster is full the job is %v: %s", st.State, st.Reason)
			}
			return true
		})
		s.wait(every)
	}
	free()
	s.runs(ids)
	s.cancel(ids)
}

// testBanners checks that identifiers are found among what a wrapper prints.
func testBanners(s *site) {
	undo := s.Cluster.Wrap(s.T, s.Cluster.Head, s.Submit, `echo "*** 24 nodes are down for maintenance until 12:00 ***"
echo "your balance: 4711 hours" >&2
"$real" "$@"
status=$?
echo "*** questions? call 31415926 ***"
exit $status`)
	ids := s.submit(s.sleeper())
	undo()
	s.runs(ids)
	s.cancel(ids)
}

// testGarbage checks that no bad answer of the status command ends a job.
func testGarbage(s *site) {
	ids := s.submit(s.sleeper())
	s.runs(ids)
	for name, script := range map[string]string{
		"fails":       `echo "` + s.Status + `: error: something broke" >&2; exit 1`,
		"says naught": `exit 0`,
		"is cut off":  `"$real" "$@" | head -c 30; kill -9 $$`,
		"is no text":  `head -c 4096 /dev/urandom`,
		"is a page":   `echo "<html><body>503 Service Unavailable</body></html>"`,
		"banners":     `echo "*** welcome ***"; "$real" "$@"; echo "*** bye ***"`,
	} {
		undo := s.Cluster.Wrap(s.T, s.Cluster.Head, s.Status, script)
		for range 3 {
			all, err := s.login.Status(s.ctx, ids...)
			switch {
			case err != nil && gat.ClassOf(err) != gat.Transient:
				s.Errorf("a status command that %s: %v", name, err)
			case err == nil && all[0].State.Final():
				s.Errorf("a status command that %s makes a running job %v: %s", name, all[0].State, all[0].Reason)
			}
			s.wait(every)
		}
		undo()
	}
	s.runs(ids)
	s.cancel(ids)
}

// testCancelRefused checks that a refusal to cancel is not taken for an end.
func testCancelRefused(s *site) {
	ids := s.submit(s.sleeper())
	s.runs(ids)
	undo := s.Cluster.Wrap(s.T, s.Cluster.Head, s.Cancel, `echo "`+s.Cancel+`: you are not authorized to do that: Permission denied" >&2; exit 1`)
	err := s.login.Cancel(s.ctx, ids...)
	if err == nil || !strings.Contains(err.Error(), "denied") {
		s.Errorf("a refused cancel: %v", err)
	}
	undo()
	s.runs(ids)
	s.cancel(ids)
}

// testAccounts checks users with login shells and start files of many kinds.
func testAccounts(s *site) {
	for name, files := range map[string]string{
		"set -e":    `printf 'set -e\nset -u\nfalse_friend() { false; }\nCDPATH=/tmp\nexport GREP_OPTIONS=--color=always\n' >.bashrc; cp .bashrc .profile`,
		"noise":     `printf 'echo "Last login: never"\necho quota >&2\n' >.bashrc; cp .bashrc .profile`,
		"no HOME":   `printf 'unset HOME USER LOGNAME\n' >.bashrc`,
		"umask 777": `printf 'umask 777\n' >.bashrc; cp .bashrc .profile`,
	} {
		s.sh("cp -p .bashrc .kept; " + files)
		s.login.Close()
		s.login = s.open()
		spec, out := s.script("echo end")
		spec.Files = nil
		if !s.NoFiles {
			spec.Files = []gat.JobFile{{Name: "program", Mode: 0o700, Data: []byte("#!/bin/sh\necho end\n")}}
			spec.Argv = []string{"./program"}
		}
		if name == "umask 777" {
			spec.Stderr, out = "", "" // who sets that can read nothing of its own
		}
		ids := s.submit(spec)
		if out != "" {
			s.read(out, "end")
		}
		s.done(ids)
		s.sh("mv .kept .bashrc; rm -f .profile")
		if s.Failed() {
			s.Fatalf("with %s", name)
		}
	}
}

// testQuota checks that nothing is written to a home that is full.
func testQuota(s *site) {
	for _, h := range s.Cluster.Hosts() {
		s.Cluster.QuotaFull(s.T, h)
	}
	spec, out := s.script("echo end")
	if !s.NoFiles {
		spec.Files = []gat.JobFile{{Name: "program", Mode: 0o700, Data: []byte("#!/bin/sh\necho end\nexec sleep 1009\n")}}
		spec.Argv = []string{"./program"}
	}
	ids := s.submit(spec)
	s.read(out, "end")
	s.cancel(ids)
}

// testController checks that a controller that is gone is waited for.
func testController(s *site) {
	ids := s.submit(s.sleeper())
	s.runs(ids)
	if err := s.Cluster.StopController(s.ctx); err != nil {
		s.Fatal(err)
	}
	started := time.Now()
	_, err := s.login.Submit(s.ctx, s.sleeper())
	s.refused(err, gat.Transient, "", "submit without a controller")
	s.Logf("submit: %v (%v)", err, time.Since(started))
	_, err = s.login.Status(s.ctx, ids...)
	s.refused(err, gat.Transient, "", "status without a controller")
	if err := s.login.Cancel(s.ctx, ids...); err != nil {
		s.refused(err, gat.Transient, "", "cancel without a controller")
	} else {
		s.Error("cancel succeeds without a controller")
	}
	if err := s.Cluster.StartController(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.runs(ids)
	s.cancel(ids)
}

// testReboot checks that jobs are found again after the head has rebooted.
func testReboot(s *site) {
	ids := s.submit(s.sleeper())
	s.runs(ids)
	if err := s.Cluster.Reboot(s.ctx, s.Cluster.Head); err != nil {
		s.Fatal(err)
	}
	s.login.Close()
	s.login = s.open()
	s.runs(ids)
	s.cancel(ids)
}

// testDeadNode checks what is said of a job whose node has died.
func testDeadNode(s *site) {
	spec, out := s.script("hostname; exec sleep 1009")
	ids := s.submit(spec)
	name := s.read(out, s.Cluster.Head.Name)
	i := slices.IndexFunc(s.Cluster.Nodes, func(h *testbed.Host) bool { return h.Name == name })
	if i < 0 {
		s.Fatalf("the job says that it runs on %q", name)
	}
	node := s.Cluster.Nodes[i]
	s.runs(ids)
	if err := s.Cluster.Kill(node); err != nil {
		s.Fatal(err)
	}
	killed := time.Now()
	if len(s.Dead) > 0 {
		all := s.until("the job is known to be lost", ids, func(st gat.JobStatus) bool { return slices.Contains(s.Dead, st.State) })
		s.Logf("after %v the job is %v: %s", time.Since(killed), all[0].State, all[0].Reason)
	}
	if err := s.Cluster.Start(s.ctx, node); err != nil {
		s.Fatal(err)
	}
	s.cancel(ids)
}
