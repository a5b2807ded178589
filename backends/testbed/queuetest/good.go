package queuetest

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// testLearns checks what a job finds in its environment.
func testLearns(s *site) {
	spec, out := s.script(`env | grep ^GAT_; echo end`)
	spec.Resources = gat.Resources{Cores: 2, Walltime: 2 * time.Minute}
	ids := s.submit(spec)
	got := make(map[string]string)
	for line := range strings.Lines(s.read(out, "end")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[key] = value
	}
	if got["GAT_JOB"] != string(ids[0]) || got["GAT_CORES"] != "2" && !s.Blocks {
		s.Errorf("job %s with 2 cores learns %v", ids[0], got)
	}
	if left, err := strconv.Atoi(got["GAT_LEFT"]); (err != nil || left < 30 || left > 120) && !s.Blocks {
		s.Errorf("a job of two minutes has %q s left at its start", got["GAT_LEFT"])
	}
	s.done(ids)

	// In an array, every task knows which it is.
	spec, out = s.script(`echo $GAT_JOB`)
	spec.Count = 3
	ids = s.submit(spec)
	s.done(ids)
	lines := strings.Fields(s.read(out, ""))
	slices.Sort(lines)
	var want []string
	for _, id := range ids {
		want = append(want, string(id))
	}
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		s.Errorf("tasks learn that they are %q, want %q", lines, want)
	}
}

// testFiles checks that files travel with a job and go with it.
func testFiles(s *site) {
	spec, out := s.script("")
	spec.Files = []gat.JobFile{
		{Name: "program", Mode: 0o700, Data: []byte("#!/bin/sh\ncat data\nls -ld . | cut -c1-10\nhostname\npwd\necho end\n[ \"$1\" = quick ] || exec sleep 1009\n")},
		{Name: "data", Mode: 0o600, Data: []byte("carried\n")},
	}
	spec.Argv = []string{"./program", "quick"}
	ids := s.submit(spec)
	got := s.read(out, "end")
	if !strings.HasPrefix(got, "carried\ndrwx------\n") || strings.Contains(got, "\n"+s.Cluster.Head.Name+"\n") {
		s.Errorf("with its files a job says %q", got)
	}
	s.done(ids)
	spec.Argv = []string{"./program", "slow"}
	ids = s.submit(spec)
	s.read(out, "end")
	s.cancel(ids)
}

// testSetup checks that setup lines come before the command.
func testSetup(s *site) {
	spec, out := s.script(`echo "$A $B end"`)
	spec.Setup = []string{"A=1; export A", `export B="two words"`}
	ids := s.submit(spec)
	if got := s.read(out, "end"); got != "1 two words end" {
		s.Errorf("after setup a job says %q", got)
	}
	s.done(ids)
}

// testNodes checks that a job of several nodes runs its command once on each.
func testNodes(s *site) {
	n := min(3, len(s.Cluster.Nodes))
	spec, _ := s.script("")
	dir := s.Cluster.SharedDir() + "/nodes"
	s.sh("mkdir " + dir)
	text := `echo "$(hostname) $GAT_NODE $GAT_JOB" >` + dir + `/$(hostname); exec sleep 1009`
	spec.Argv = []string{"/bin/sh", "-c", text}
	if !s.NoFiles {
		large := make([]byte, 1<<20) // as large as a program, which does not fit into pipes
		rand.Read(large)
		spec.Files = []gat.JobFile{
			{Name: "program", Mode: 0o700, Data: []byte("#!/bin/sh\n[ $(wc -c <large) -eq 1048576 ] && " + text + "\n")},
			{Name: "large", Mode: 0o600, Data: large},
		}
		spec.Argv = []string{"./program"}
	}
	spec.Stderr = ""
	spec.Resources = gat.Resources{Shape: gat.Multi, Nodes: n}
	ids := s.submit(spec)
	var got []string
	for deadline := time.Now().Add(patience); len(got) < n; {
		got = strings.Split(s.sh("cat "+dir+"/* 2>/dev/null || true"), "\n")
		if time.Now().After(deadline) {
			s.Fatalf("a job of %d nodes says %q", n, got)
		}
		s.wait(100 * time.Millisecond)
	}
	var numbers []string
	for _, line := range got {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != string(ids[0]) {
			s.Fatalf("a node of job %s says %q", ids[0], line)
		}
		numbers = append(numbers, f[1])
	}
	slices.Sort(numbers)
	for i := range n {
		if numbers[i] != strconv.Itoa(i) {
			s.Errorf("the nodes' numbers are %q", numbers)
			break
		}
	}
	s.cancel(ids)
	s.sh("rm -r " + dir)
}

// testInside checks the way to a job's nodes that is the system's own.
func testInside(s *site) {
	testEachNode(s)
	spec, out := s.script(`hostname; exec sleep 1009`)
	spec.Resources.Inside = true
	ids := s.submit(spec)
	node := s.read(out, s.Cluster.Head.Name)
	s.runs(ids)
	p, err := s.login.(gat.Insider).Inside(s.ctx, ids[0], 0, gat.Command{Argv: []string{"/bin/sh", "-c", `hostname; read -r line; echo "<$line> $1"; cat`, "sh", "an 'odd' $word"}})
	if err != nil {
		s.Fatal(err)
	}
	defer p.Close()
	talk := func(say, hear string) {
		s.Helper()
		if say != "" {
			if _, err := io.WriteString(p.Stdin(), say); err != nil {
				s.Fatal(err)
			}
		}
		got := make([]byte, len(hear))
		if _, err := io.ReadFull(p.Stdout(), got); err != nil || string(got) != hear {
			s.Fatalf("to %q the command answers %q (%v), want %q", say, got, err, hear)
		}
	}
	talk("", node+"\n")
	talk("hello\n", "<hello> an 'odd' $word\n")
	talk("byte by byte", "byte by byte") // without an end of line
	p.Stdin().Close()
	if code, err := p.Wait(); err != nil || code != 0 {
		s.Errorf("the command ends with %d, %v", code, err)
	}
	s.runs(ids)
	s.cancel(ids)
	if _, err := s.login.(gat.Insider).Inside(s.ctx, ids[0], 0, gat.Command{Argv: []string{"/bin/true"}}); err == nil {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		defer cancel()
		p, _ := s.login.(gat.Insider).Inside(ctx, ids[0], 0, gat.Command{Argv: []string{"/bin/true"}})
		if code, err := p.Wait(); code == 0 && err == nil {
			s.Error("a command runs inside a job that has ended")
		}
		p.Close()
	}
}

// testEachNode enters a job on each of its nodes.
func testEachNode(s *site) {
	if s.NoMulti {
		return
	}
	n := min(3, len(s.Cluster.Nodes))
	spec := s.sleeper()
	spec.Resources = gat.Resources{Shape: gat.Multi, Nodes: n, Inside: true}
	ids := s.submit(spec)
	s.runs(ids)
	seen := make(map[string]bool)
	for node := range n + 1 {
		p, err := s.login.(gat.Insider).Inside(s.ctx, ids[0], node, gat.Command{Argv: []string{"hostname"}})
		if err != nil {
			s.Fatal(err)
		}
		p.Stdin().Close()
		go io.Copy(io.Discard, p.Stderr())
		out, _ := io.ReadAll(p.Stdout())
		code, err := p.Wait()
		p.Close()
		name := strings.TrimSpace(string(out))
		if node < n && (code != 0 || err != nil || name == s.Cluster.Head.Name || seen[name]) {
			s.Errorf("on node %d of the job hostname says %q, status %d, %v; before were %v", node, name, code, err, seen)
		} else if node == n && code == 0 {
			s.Errorf("a job of %d nodes has another: %q", n, name)
		}
		seen[name] = true
	}
	s.cancel(ids)
}

// testWarning checks that the command gets the system's warning.
func testWarning(s *site) {
	spec, out := s.script(`trap 'echo warned; exit 0' USR1 USR2 TERM XCPU; echo up; while :; do sleep 0.1; done`)
	spec.Resources = *s.Warned
	ids := s.submit(spec)
	if s.Warn != "" {
		s.await(out, "up")
		s.sh(s.Warn + " " + string(ids[0]))
	}
	s.read(out, "warned")
	s.ends(ids)
}

// testNames checks names that systems are particular about.
func testNames(s *site) {
	for _, name := range []string{"1st", "a-b_c.d", "a" + strings.Repeat("b", 60)} {
		spec, out := s.script("echo end")
		spec.Name = name
		ids := s.submit(spec)
		s.read(out, "end")
		s.done(ids)
	}
}

// testMany counts the remote commands that many jobs take.
func testMany(s *site) {
	const n = 200
	commands := func() int {
		// No session at all makes grep fail.
		out, err := s.Cluster.Head.Exec(s.ctx, "sh", "-c", "grep -c '^Starting session' /var/log/sshd.log || [ $? -eq 1 ]")
		if err != nil {
			s.Fatal(err)
		}
		count, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			s.Fatal(err)
		}
		return count
	}
	before := commands()
	spec := s.sleeper()
	spec.Count = n
	ids := s.submit(spec)
	if used := commands() - before; used > 3 {
		s.Errorf("%d jobs take %d remote commands", n, used)
	}
	s.until("some jobs run", ids[:1], func(st gat.JobStatus) bool { return st.State == gat.Running })
	before = commands()
	if err := s.login.Cancel(s.ctx, ids...); err != nil {
		s.Fatal(err)
	}
	if used := commands() - before; used > 3 {
		s.Errorf("to cancel %d jobs takes %d remote commands", n, used)
	}
	s.ends(ids)
}

// testDescription checks what is told of the cluster.
func testDescription(s *site) {
	d, ok := s.login.(gat.Describer)
	if !ok {
		s.Skip("the dialect describes nothing")
	}
	info, err := d.Describe(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("%+v", info)
	if info.Scheduler == "" || info.Version == "" && !s.Blocks {
		s.Errorf("the scheduler is %q, version %q", info.Scheduler, info.Version)
	}
	for name, r := range s.Refused {
		if q := r.Ask.Queue; q != "" && r.Ask.Walltime > 0 && !slices.ContainsFunc(info.Queues, func(known gat.QueueState) bool {
			return known.Name == q && known.MaxWalltime > 0 && known.MaxWalltime < r.Ask.Walltime
		}) {
			s.Errorf("no limit of %s is told, over which a job that asks for %s is", q, name)
		}
	}
}
