package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// original is what went wrong in the first Zorilla (Drost et al., "Zorilla: a
// peer-to-peer middleware for real-world distributed systems", 2011, and its
// code of that time), each with the tests that show that it does not here, as
// folder and name.
var original = []struct {
	wrong string
	tests []string
}{
	// Flood scheduling.
	{"the search stays among the neighbours, however often it is repeated", []string{"overlay/flood TestRings", "overlay/flood TestBounded"}},
	{"the search is not for the nearest, but for whoever answers first", []string{"overlay/flood TestRings", "overlay/flood TestChoose", "pilot/sim TestGang"}},
	{"an advert does not say what the job needs, so that everybody answers", []string{"overlay/flood TestFit", "pilot/core TestScenarios"}},
	{"an advert is handled, and passed on, each time that it comes", []string{"overlay/flood TestSeen", "pilot/core TestAdvertFlood"}},
	{"the messages of a search are a power of its radius", []string{"pilot/sim TestGang", "pilot/sim TestGangNumbers"}},
	{"adverts wait for one another, and for nodes that are gone", []string{"overlay/transport TestQueueOverflow", "overlay/transport TestStalledReader"}},
	{"any number of nodes may register for a job", []string{"pilot/job TestSurplus", "overlay/flood TestBoardBounds"}},
	{"a node that has done its part ignores the job's later adverts", []string{"pilot/core TestWorksAgain"}},
	{"a job that has ended is remembered for ever", []string{"pilot/core TestWorksAgain", "overlay/flood TestBoardBounds"}},
	{"workers go to whoever comes first, whatever else waits", []string{"overlay/flood TestWounded", "pilot/sim TestGangs"}},
	{"a gang is taken in the order of a hash, not by distance", []string{"pilot/job TestSurplus", "overlay/flood TestChoose"}},
	{"slots are reserved without end", []string{"overlay/flood TestClaim", "pilot/job TestGangWait"}},
	{"slots that were reserved in vain stay taken", []string{"overlay/flood TestSlotsAddUp", "pilot/job TestGangWait"}},
	{"gangs that want the same slots keep each other from all of them", []string{"pilot/sim TestGangs", "pilot/job TestWound"}},
	{"anybody can end the whole network", []string{"pilot/core TestNobodyEndsIt", "overlay/detect TestForeignDeaths"}},
	{"anybody can cancel a job", []string{"pilot/core TestNobodyEndsIt"}},
	{"a dead peer stops the gossip for half a minute", []string{"overlay/gossip TestFallback", "overlay/gossip TestHalfDies"}},

	// The rest.
	{"nobody is asked who he is", []string{"overlay/transport TestHostileConnections", "overlay/transport TestForgedCertificates", "overlay/transport TestJoinRefused", "launcher TestStrangers"}},
	{"host keys are not looked at", []string{"backends/ssh TestKnownHosts"}},
	{"whatever a peer sends becomes an object", []string{"overlay/wire FuzzDecode", "overlay/wire TestRefused"}},
	{"when the node that submitted is gone, so is everything, at once", []string{"pilot TestLauncherGone", "launcher TestCutWithinLease"}},
	{"jobs never leave the list of the node that submitted them", []string{"pilot/core TestWorksAgain"}},
	{"inputs are fetched before there is a slot", []string{"pilot/core TestFetchesWhenGranted"}},
	{"a transfer that broke begins anew", []string{"staging TestFetchResumes"}},
	{"the exit status of a job is always 0", []string{"pilot/job TestVerdict", "pilot TestExitStatus"}},
	{"a node that was given up and calls again breaks its own workers, or the job", []string{"pilot/job TestDeadCalls", "pilot/job TestOldAttempt"}},
	{"a killed worker counts as the program's failure, and ends the job", []string{"pilot/job TestVerdict", "pilot/job TestEndless", "launcher TestWorkerKilled"}},
	{"one worker per machine, and what workers take is not added up", []string{"overlay/flood TestPerWorker", "overlay/flood TestSlotsAddUp"}},
	{"the dead are noticed after minutes, and replaced after minutes more", []string{"overlay/detect TestOneDies", "pilot/job TestManyDeaths", "launcher TestPilotKilledSpareSlots"}},
	{"all workers write to one file", []string{"launcher TestOut", "staging TestOutput"}},
	{"there is no standard input", []string{"pilot/worker TestStdin"}},
	{"the name of the network is not looked at", []string{"overlay/transport TestHostileConnections"}},
	{"a limit of the run time is not held", []string{"pilot TestWalltime"}},
	{"nodes are started by hand, and stay when the job has ended", []string{"launcher TestOneSSHHost", "pilot TestToldToEnd", "pilot TestLease"}},
	{"nodes of another build must not be there at all", []string{"pilot/core TestOtherVersion"}},
	{"Java is where it is on the head node", []string{"launcher TestJar"}},
}

// TestOriginal holds that every test which original names is there.
func TestOriginal(t *testing.T) {
	root := filepath.Join("..", "..")
	source := make(map[string]string)
	for _, o := range original {
		for _, name := range o.tests {
			dir, test, ok := strings.Cut(name, " ")
			if _, read := source[dir]; !read {
				files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				var all strings.Builder
				for _, f := range files {
					b, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					all.Write(b)
				}
				source[dir] = all.String()
			}
			if !ok || !strings.Contains(source[dir], "\nfunc "+test+"(") {
				t.Errorf("%s: there is no test %q", o.wrong, name)
			}
		}
	}
}

// pump lets time pass and brings messages to where they go, and has workers run
// for a moment, until a time. What the nodes want done comes back.
func pump(now *time.Duration, until time.Duration, nodes map[wire.NodeID]*core.Node) (all map[wire.NodeID]core.Effects) {
	all = make(map[wire.NodeID]core.Effects)
	for {
		for again := true; again; {
			again = false
			for _, name := range []string{"L", "H", "A", "B"} {
				id := nodeID(name)
				n := nodes[id]
				if n == nil {
					continue
				}
				fx, sum := n.Ready(), all[id]
				for _, s := range fx.Sends {
					if to := nodes[s.To]; to != nil {
						to.Receive(*now, id, s.Msg)
						again = true
					}
				}
				for _, s := range fx.Starts {
					n.Started(*now, s.Key, 100)
					n.Exited(*now, s.Key, wire.Result{Exit: wire.Exit{Reason: wire.ExitProgram}})
					again = true
				}
				for _, c := range fx.Collects {
					n.Collected(*now, c.Key, "")
					again = true
				}
				sum.Sends, sum.Events = append(sum.Sends, fx.Sends...), append(sum.Events, fx.Events...)
				sum.Starts, sum.Fetches = append(sum.Starts, fx.Starts...), append(sum.Fetches, fx.Fetches...)
				sum.Kills = append(sum.Kills, fx.Kills...)
				if fx.Leave != nil {
					sum.Leave = fx.Leave
				}
				all[id] = sum
			}
		}
		next := until
		for _, n := range nodes {
			next = min(next, n.Next())
		}
		*now = max(*now, next)
		if *now >= until {
			return all
		}
		for _, name := range []string{"L", "H", "A", "B"} {
			if n := nodes[nodeID(name)]; n != nil {
				n.Tick(*now)
			}
		}
	}
}

// together makes nodes with links to each other.
func together(now time.Duration, peers ...wire.Peer) map[wire.NodeID]*core.Node {
	nodes := make(map[wire.NodeID]*core.Node)
	for _, p := range peers {
		nodes[p.ID] = core.New(core.Config{ID: p.ID, Role: p.Role, Site: p.Site, Offer: p.Offer, Platform: "linux/amd64", Idle: core.Forever}, now)
	}
	for _, p := range peers {
		for _, q := range peers {
			if p.ID != q.ID {
				nodes[p.ID].LinkUp(now, q)
			}
		}
	}
	return nodes
}

var launcherL = wire.Peer{ID: nodeID("L"), Role: wire.RoleLauncher}

// TestWorksAgain: one job after the other, more than a node may have at a time,
// run on the same pilot, and nothing of them stays.
func TestWorksAgain(t *testing.T) {
	now := time.Second
	nodes := together(now, launcherL, hubH, pilotA)
	l, a := nodes[launcherL.ID], nodes[pilotA.ID]
	pump(&now, now+time.Second, nodes)
	for i := range core.MaxJobs + 10 {
		spec := job.Spec{ID: jobNumber(i), Want: 3, Program: wire.Program{Argv: []string{"app"}}, Min: 1} // on two slots: the third worker comes later
		if err := l.Submit(now, spec); err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
		end, started := false, 0
		for limit := now + time.Minute; !end && now < limit; {
			all := pump(&now, now+500*time.Millisecond, nodes)
			started += len(all[pilotA.ID].Starts)
			for _, e := range all[launcherL.ID].Events {
				if x, ok := e.(core.JobEnded); ok && x.Outcome == job.OK {
					end = true
				}
			}
		}
		if !end || started != 3 {
			t.Fatalf("job %d: ended %t, %d workers started on the pilot", i, end, started)
		}
	}
	pump(&now, now+time.Minute, nodes)
	for name, n := range map[string]*core.Node{"launcher": l, "hub": nodes[hubH.ID], "pilot": a} {
		if st := n.Stats(now); st.Jobs != 0 || st.Workers != 0 || st.Leads != 0 || st.Committed != 0 || st.Held != 0 {
			t.Errorf("%s: %+v; want nothing left of any job", name, st)
		}
	}
}

// TestNobodyEndsIt: a pilot that tells nodes to leave, declares them dead and
// closes others' jobs is told of once by each, and no node and no worker ends.
func TestNobodyEndsIt(t *testing.T) {
	now := time.Second
	nodes := together(now, launcherL, hubH, pilotA, pilotB)
	pump(&now, now+time.Second, nodes)
	id := jobID("J")
	l, h, a := nodes[launcherL.ID], nodes[hubH.ID], nodes[pilotA.ID]
	delete(nodes, pilotB.ID) // from now on it is ours
	program := wire.Program{Argv: []string{"app"}, Root: wire.Digest{1}}
	if err := l.Submit(now, job.Spec{ID: id, Want: 2, Program: program}); err != nil {
		t.Fatal(err)
	}
	if all := pump(&now, now+2*time.Second, nodes); len(all[pilotA.ID].Fetches) == 0 {
		t.Fatal("the job does not begin")
	}
	blamed := make(map[*core.Node]int)
	for range 3 {
		for _, m := range []wire.Message{
			&wire.Retire{Reason: "because I say so"},
			&wire.Beat{Dead: true},
			&wire.Notices{List: []*wire.Notice{{Origin: pilotB.ID, Seq: 1, Dead: []wire.NodeID{pilotA.ID, hubH.ID}}}},
			&wire.PeersChanged{Down: []wire.NodeID{pilotA.ID, hubH.ID, launcherL.ID}},
			&wire.Closed{Job: id, Epoch: 1},
			&wire.Stop{Job: id, Epoch: 1, Now: true, Workers: []wire.Attempt{{Rank: 0, Attempt: 1}, {Rank: 1, Attempt: 1}}},
			&wire.Release{Job: id, Epoch: 1, Seq: 1, All: true},
			&wire.Refuse{Job: id, Epoch: 1, Seq: 1},
		} {
			for _, n := range []*core.Node{l, h, a} {
				n.Receive(now, pilotB.ID, m)
			}
		}
		all := pump(&now, now+5*time.Second, nodes)
		for p, n := range map[wire.NodeID]*core.Node{launcherL.ID: l, hubH.ID: h, pilotA.ID: a} {
			blamed[n] += blames(all[p])
			if all[p].Leave != nil || len(all[p].Kills) > 0 {
				t.Fatalf("%s: leaves %v, kills %v", p.Short(), all[p].Leave, all[p].Kills)
			}
		}
	}
	if blamed[h] != 1 || blamed[a] != 1 {
		t.Errorf("told of %d times by the hub and %d times by the pilot, want once each", blamed[h], blamed[a])
	}
	a.Fetched(now, id, wire.Digest{1}, "")
	ended := false
	for range 20 {
		for _, e := range pump(&now, now+time.Second, nodes)[launcherL.ID].Events {
			if x, ok := e.(core.JobEnded); ok {
				ended = x.Outcome == job.OK
			}
		}
	}
	if !ended {
		c, ok := l.Job(id)
		t.Errorf("the job does not end well: %+v, %t", c, ok)
	}
}

// TestFetchesWhenGranted: a pilot fetches nothing before it was granted a worker.
func TestFetchesWhenGranted(t *testing.T) {
	a := met(t, core.Config{ID: pilotA.ID, Role: wire.RolePilot, Site: "s", Offer: pilotA.Offer, Platform: "linux/amd64", Idle: core.Forever}, hubH, launcherL)
	now := 2 * time.Second
	id := jobID("J")
	a.Receive(now, hubH.ID, &wire.Advert{Job: id, Epoch: 1, Seq: 1, Primary: launcherL.ID, Open: 1, Lease: time.Minute})
	fx := a.Ready()
	var claim *wire.Claim
	for _, s := range fx.Sends {
		if m, ok := s.Msg.(*wire.Claim); ok {
			claim = m
		}
	}
	if claim == nil {
		t.Fatal("no claim")
	}
	a.Receive(now, launcherL.ID, &wire.Hold{Job: id, Epoch: 1, Seq: claim.Seq, Workers: 1, TTL: time.Minute})
	if held := a.Ready(); len(fx.Fetches)+len(held.Fetches) > 0 {
		t.Error("it fetches before it is granted anything")
	}
	a.Receive(now, launcherL.ID, &wire.Grant{Job: id, Epoch: 1, Seq: claim.Seq, Lease: time.Minute, Size: 1,
		Program: wire.Program{Argv: []string{"app"}, Root: wire.Digest{1}}, Workers: []wire.Attempt{{Rank: 0, Attempt: 1}}})
	if fx := a.Ready(); len(fx.Fetches) != 1 || len(fx.Starts) != 0 {
		t.Errorf("%d fetches, %d starts; want the files, then the start", len(fx.Fetches), len(fx.Starts))
	}
}

// TestOtherVersion: a node that speaks another version is known, is given no
// part in anything, and does no harm.
func TestOtherVersion(t *testing.T) {
	l := core.New(core.Config{ID: launcherL.ID, Role: wire.RoleLauncher}, time.Second)
	now := time.Second
	for _, p := range []wire.Peer{pilotA, pilotB} {
		l.LinkUp(now, p)
		version := uint16(wire.ProtocolVersion)
		if p.ID == pilotB.ID {
			version++
		}
		l.Receive(now, p.ID, &wire.Hello{Version: version, Offer: p.Offer, Platform: "linux/amd64"})
	}
	fx := l.Ready()
	welcome := make(map[wire.NodeID]bool)
	for _, s := range fx.Sends {
		if _, ok := s.Msg.(*wire.Welcome); ok {
			welcome[s.To] = true
		}
	}
	if !welcome[pilotA.ID] || welcome[pilotB.ID] {
		t.Errorf("welcome: %v; want the one of this version alone", welcome)
	}
}
