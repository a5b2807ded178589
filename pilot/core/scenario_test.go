package core_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the scenarios' outputs")

// TestScenarios plays testdata/*.txt: lines that begin with "> " are commands,
// what follows is what the nodes say and do because of them. Messages arrive
// at once and in order; a node that sends to one without a link gets one.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s says otherwise; run with -rewrite and read the difference. Got:\n%s", file, got)
			}
		})
	}
}

type stage struct {
	t     *testing.T
	now   time.Duration
	names []string
	nodes map[string]*core.Node
	peers map[string]wire.Peer
	links map[[2]string]bool
	cut   map[[2]string]bool
	lose  map[string]bool
	queue []letter
	out   strings.Builder
}

type letter struct {
	from, to string
	msg      wire.Message
}

func play(t *testing.T, text string) string {
	s := &stage{t: t, now: time.Minute, nodes: map[string]*core.Node{}, peers: map[string]wire.Peer{},
		links: map[[2]string]bool{}, cut: map[[2]string]bool{}, lose: map[string]bool{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "> "):
			s.out.WriteString(line + "\n")
			s.command(line[2:])
			s.settle()
		case line == "" || strings.HasPrefix(line, "#"):
			s.out.WriteString(line + "\n")
		}
	}
	return s.out.String()
}

func (s *stage) printf(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) }

// pair names a link.
func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

func (s *stage) command(line string) {
	words := strings.Fields(line)
	opt := map[string]string{}
	var args []string
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			opt[k] = v
		} else {
			args = append(args, w)
		}
	}
	arg := func(i int) string {
		if i >= len(args) {
			return ""
		}
		return args[i]
	}
	n := s.nodes[arg(0)]
	if n == nil && !slices.Contains([]string{"node", "wait", "lose"}, words[0]) {
		s.t.Fatalf("%q: no node %q", line, arg(0))
	}
	switch words[0] {
	case "node": // NAME ROLE SITE [slots=] [idle=] [lease=] [near=SITE] [job=] [part=] [left=]
		role, err := wire.ParseRole(arg(1))
		if err != nil {
			s.t.Fatal(err)
		}
		p := wire.Peer{ID: nodeID(arg(0)), Role: role, Site: arg(2), Name: arg(0)}
		slots := uint32(number(opt["slots"]))
		s.names = append(s.names, arg(0))
		s.peers[arg(0)] = p
		until := time.Duration(0)
		if opt["left"] != "" {
			until = s.now + span(opt["left"])
		}
		s.nodes[arg(0)] = core.New(core.Config{Job: opt["job"], Part: uint32(number(opt["part"])), Until: until, Near: strings.Fields(opt["near"]), ID: p.ID, Role: role, Site: p.Site, Name: p.Name, Platform: cmp.Or(opt["platform"], "linux/amd64"),
			Offer: wire.Offer{Slots: slots, Cores: slots, Memory: int64(slots) << 30},
			Lease: span(opt["lease"]), Idle: cmp.Or(span(opt["idle"]), core.Forever)}, s.now)
	case "link": // NAME NAME
		delete(s.cut, pair(arg(0), arg(1)))
		s.link(arg(0), arg(1))
	case "cut": // NAME NAME...: no link between the first and the others until "link"
		for _, other := range args[1:] {
			s.cut[pair(arg(0), other)] = true
			if s.links[pair(arg(0), other)] {
				delete(s.links, pair(arg(0), other))
				n.LinkDown(s.now, s.peers[other].ID)
				s.nodes[other].LinkDown(s.now, s.peers[arg(0)].ID)
			}
		}
	case "gone": // NAME OTHER
		n.Gone(s.now, s.peers[arg(1)].ID, "its process ended")
	case "lose": // KIND...: such messages are lost from now on
		clear(s.lose)
		for _, k := range args {
			s.lose[k] = true
		}
	case "wait": // DURATION
		s.wait(span(arg(0)))
	case "submit": // NAME JOB want= [min=] [retries=] [policy=] [lease=] [cores=] [walltime=] [files=yes]
		policy, err := job.ParsePolicy(cmp.Or(opt["policy"], "replace"))
		if err != nil {
			s.t.Fatal(err)
		}
		spec := job.Spec{ID: jobID(arg(1)), Want: number(opt["want"]), Min: number(opt["min"]), Retries: number(opt["retries"]), OnFailure: policy,
			Lease: span(opt["lease"]), GangWait: span(opt["gangwait"]), Needs: wire.Requirements{Cores: uint32(number(opt["cores"])), Walltime: span(opt["walltime"])},
			Program: wire.Program{Argv: []string{"app"}, KillGrace: 2 * time.Second}}
		if opt["platform"] != "" {
			spec.Needs.Platforms = []string{opt["platform"]}
		}
		if opt["files"] != "" {
			spec.Program.Root = wire.Digest{1}
		}
		if err := n.Submit(s.now, spec); err != nil {
			s.printf("error: %v", err)
		}
	case "cancel": // NAME JOB [now]
		n.Cancel(s.now, jobID(arg(1)), job.Interrupted, arg(2) != "now")
	case "fetched": // NAME JOB [error=]
		n.Fetched(s.now, jobID(arg(1)), wire.Digest{1}, opt["error"])
	case "run": // NAME JOB RANK.ATTEMPT...
		for _, a := range args[2:] {
			n.Started(s.now, key(arg(1), a), 100)
		}
	case "exit": // NAME JOB RANK.ATTEMPT... [code=] [signal=] [reason=start-failed]
		exit := wire.Exit{Reason: wire.ExitProgram, Code: int32(number(opt["code"])), Signal: uint8(number(opt["signal"]))}
		for r := wire.ExitProgram; r <= wire.ExitLease; r++ {
			if opt["reason"] == r.String() {
				exit.Reason = r
			}
		}
		for _, a := range args[2:] {
			n.Exited(s.now, key(arg(1), a), wire.Result{Exit: exit})
		}
	case "collected": // NAME JOB RANK.ATTEMPT... [error=]
		for _, a := range args[2:] {
			n.Collected(s.now, key(arg(1), a), opt["error"])
		}
	case "drain": // NAME GRACE
		n.Drain(s.now, "wall time", span(arg(1)))
	case "expect": // NAME SITE WITHIN
		n.Expect(s.now, arg(1), span(arg(2)))
	case "abandon": // NAME
		n.Abandon(s.now, "the launcher is gone")
	case "retire": // NAME [SITE]
		n.Retire(s.now, arg(1), "done")
	case "stats": // NAME
		st := n.Stats(s.now)
		s.printf("%s: free %d offered %d held %d committed %d, workers %d, jobs %d, leads %d", arg(0), st.Free, st.Offered, st.Held, st.Committed, st.Workers, st.Jobs, st.Leads)
	default:
		s.t.Fatalf("unknown command %q", line)
	}
}

func nodeID(name string) (id wire.NodeID) { copy(id[:], name); return id }
func jobID(name string) (id wire.JobID)   { copy(id[:], name); return id }

func nodeName(id wire.NodeID) string { return strings.TrimRight(string(id[:]), "\x00") }
func jobName(id wire.JobID) string   { return strings.TrimRight(string(id[:]), "\x00") }

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func span(s string) time.Duration {
	d, _ := time.ParseDuration(s)
	return d
}

func key(id, attempt string) wire.Key {
	r, a, _ := strings.Cut(attempt, ".")
	return wire.Key{Job: jobID(id), Rank: uint32(number(r)), Attempt: uint32(number(a))}
}

func (s *stage) link(a, b string) {
	s.links[pair(a, b)] = true
	s.nodes[a].LinkUp(s.now, s.peers[b])
	s.nodes[b].LinkUp(s.now, s.peers[a])
}

// wait lets time pass, node by node.
func (s *stage) wait(d time.Duration) {
	end := s.now + d
	for {
		next, who := end, ""
		for _, name := range s.names {
			if n := s.nodes[name]; n != nil && n.Next() < next {
				next, who = n.Next(), name
			}
		}
		s.now = next
		if who == "" {
			return
		}
		s.nodes[who].Tick(s.now)
		s.settle()
	}
}

// settle takes effects and delivers messages until nothing happens.
func (s *stage) settle() {
	for {
		for _, name := range s.names {
			if n := s.nodes[name]; n != nil {
				s.apply(name, n.Ready())
			}
		}
		if len(s.queue) == 0 {
			return
		}
		l := s.queue[0]
		s.queue = s.queue[1:]
		if s.nodes[l.to] == nil || s.nodes[l.from] == nil || s.cut[pair(l.from, l.to)] {
			continue
		}
		if !s.links[pair(l.from, l.to)] {
			s.links[pair(l.from, l.to)] = true
			s.nodes[l.from].LinkRouted(s.now, s.peers[l.to])
			s.nodes[l.to].LinkRouted(s.now, s.peers[l.from])
		}
		s.nodes[l.to].Receive(s.now, s.peers[l.from].ID, l.msg)
	}
}

func (s *stage) apply(name string, fx core.Effects) {
	for _, x := range fx.Sends {
		to := nodeName(x.To)
		kind := strings.TrimPrefix(fmt.Sprintf("%T", x.Msg), "*wire.")
		text := describe(x.Msg)
		if text != "" {
			lost := ""
			if s.lose[kind] {
				lost = " (lost)"
			}
			s.printf("%s>%s %s %s%s", name, to, kind, text, lost)
		}
		if !s.lose[kind] {
			b, err := wire.Decode(wire.Encode(x.Msg))
			if err != nil {
				s.t.Fatal(err)
			}
			s.queue = append(s.queue, letter{name, to, b})
		}
	}
	for _, f := range fx.Fetches {
		s.printf("%s: fetch files of %s", name, jobName(f.Job))
	}
	for _, x := range fx.Starts {
		s.printf("%s: start %s on slots %v", name, keyName(x.Key), x.Slots)
	}
	for _, x := range fx.Kills {
		s.printf("%s: kill %s within %v: %s", name, keyName(x.Key), x.Grace, x.Reason)
	}
	for _, x := range fx.Collects {
		s.printf("%s: collect %s from %s", name, keyName(x.Key), nodeName(x.Node))
	}
	for _, x := range fx.Discards {
		s.printf("%s: discard %s", name, keyName(x))
	}
	for _, x := range fx.Drops {
		s.printf("%s: drop files of %s", name, jobName(x))
	}
	for _, e := range fx.Events {
		switch e := e.(type) {
		case core.WorkerChanged:
			why := ""
			if e.Reason != "" {
				why = ": " + e.Reason
			}
			s.printf("%s! %s %v on %s%s", name, keyName(e.Key), e.Change, nodeName(e.Peer.ID), why)
		case core.JobEnded:
			s.printf("%s! job %s ended %v, exit %d %s", name, jobName(e.Job), e.Outcome, e.Exit, e.Reason)
		case core.GangDispersed:
			s.printf("%s! gang of %s dispersed: %d held, %d missing after %v, again in %v", name, jobName(e.Job), e.Held, e.Missing, e.Waited, e.Pause)
		case core.PilotShunned:
			s.printf("%s! pilot %s shunned", name, nodeName(e.Peer.ID))
		case core.PeersDown:
			for _, p := range e.Peers {
				s.printf("%s! peer %s down: %s", name, nodeName(p.ID), e.Reason)
			}
		}
	}
	if fx.Leave != nil {
		s.printf("%s: leave: %s", name, fx.Leave.Reason)
		for _, l := range s.queue {
			if l.from == name && s.nodes[l.to] != nil && s.links[pair(l.from, l.to)] {
				s.nodes[l.to].Receive(s.now, s.peers[name].ID, l.msg)
			}
		}
		s.nodes[name] = nil
		for _, other := range s.names {
			if s.links[pair(name, other)] {
				delete(s.links, pair(name, other))
				if s.nodes[other] != nil {
					s.nodes[other].LinkDown(s.now, s.peers[name].ID)
				}
			}
		}
	}
}

func keyName(k wire.Key) string { return fmt.Sprintf("%s/%d.%d", jobName(k.Job), k.Rank, k.Attempt) }

// describe returns what a scenario shows of a message; nothing of those that flow
// all the time.
func describe(m wire.Message) string {
	attempts := func(list []wire.Attempt) string {
		var s []string
		for _, a := range list {
			s = append(s, fmt.Sprintf("%d.%d", a.Rank, a.Attempt))
		}
		return strings.Join(s, " ")
	}
	switch m := m.(type) {
	case *wire.Advert:
		text := fmt.Sprintf("%s seq %d open %d", jobName(m.Job), m.Seq, m.Open)
		for _, a := range m.To {
			text += fmt.Sprintf(" to %s:%d", nodeName(a.Node), a.Workers)
		}
		return text
	case *wire.Claim:
		return fmt.Sprintf("%s #%d for %d", jobName(m.Job), m.Seq, m.Workers)
	case *wire.Hold:
		return fmt.Sprintf("%s #%d for %d", jobName(m.Job), m.Seq, m.Workers)
	case *wire.Grant:
		return fmt.Sprintf("%s #%d: %s", jobName(m.Job), m.Seq, attempts(m.Workers))
	case *wire.Refuse:
		return fmt.Sprintf("%s #%d", jobName(m.Job), m.Seq)
	case *wire.Release:
		return fmt.Sprintf("%s #%d all=%v: %s", jobName(m.Job), m.Seq, m.All, m.Reason)
	case *wire.Report:
		var s []string
		for _, w := range m.Workers {
			s = append(s, fmt.Sprintf("%d.%d %v", w.Attempt.Rank, w.Attempt.Attempt, w.State))
		}
		return fmt.Sprintf("%s: %s", jobName(m.Job), strings.Join(s, ", "))
	case *wire.Stop:
		return fmt.Sprintf("%s: %s keep=%v", jobName(m.Job), attempts(m.Workers), m.Keep)
	case *wire.Closed:
		return jobName(m.Job)
	case *wire.Leave:
		return m.Reason
	case *wire.Retire:
		return m.Reason
	}
	return ""
}
