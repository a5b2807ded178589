//go:build linux

package pilot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/pilot/sim"
	"golang.org/x/sync/errgroup"
)

// agreement is by how much, of the larger of two figures, simulation and
// reality may differ.
const agreement = 0.15

// seeds is how many simulations are compared with reality. What chance moves
// differs among them, and reality is one more throw of the dice: it is to agree
// with one of those that are possible, from the least to the greatest.
const seeds = 12

// tries is how often reality may try to be like the simulation: the machine may
// have much else to do.
const tries = 3

// few is a number of messages of one kind below which nothing can be said:
// chance alone moves it by more than the agreement.
const few = 100

// calibrationLease is what a scenario gives its jobs when it says nothing else.
const calibrationLease = 30 * time.Second

// outcome is what came of the calibration scenario.
type outcome struct {
	counts map[string]int // messages sent by nodes that were not killed, by kind
	lost   int            // workers on nodes that were killed
	seen   float64        // seconds from the kill to the last loss that was noticed
	back   float64        // seconds from the kill until all lost workers run elsewhere
}

// scenario is what reality has to know of the one that is played.
type scenario struct {
	text  string
	sites []scenarioSite
	wan   map[[2]string]time.Duration
	job   struct {
		workers  int
		at, runs time.Duration
	}
	kill    time.Duration
	victims map[string]bool // such as delft.3
}

type scenarioSite struct {
	name          string
	home          time.Duration
	pilots, slots int
}

// readScenario reads the statements that the calibration has. Others than
// those would make reality another story than the simulation: they are errors.
func readScenario(text string) (*scenario, error) {
	s := &scenario{text: text, wan: make(map[[2]string]time.Duration), victims: make(map[string]bool)}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		if err := s.read(w); err != nil {
			return nil, fmt.Errorf("%q: %w", strings.Join(w, " "), err)
		}
	}
	return s, nil
}

func (s *scenario) read(w []string) (err error) {
	scan := func(format string, args ...any) error {
		_, err := fmt.Sscanf(strings.Join(w, " "), format, args...)
		return err
	}
	var name, other, one, two string
	switch w[0] {
	case "site":
		if err := scan("site %s home %s", &name, &one); err != nil {
			return err
		}
		home, err := time.ParseDuration(one)
		s.sites = append(s.sites, scenarioSite{name: name, home: home})
		return err
	case "pilots":
		at := slices.IndexFunc(s.sites, func(at scenarioSite) bool { return at.name == w[1] })
		if at < 0 {
			return errors.New("no such site")
		}
		return scan("pilots %s %d slots %d", &name, &s.sites[at].pilots, &s.sites[at].slots)
	case "wan":
		if err := scan("wan %s %s %s", &name, &other, &one); err != nil {
			return err
		}
		s.wan[[2]string{name, other}], err = time.ParseDuration(one)
		return err
	case "job":
		if err := scan("job %s workers %d at %s runs %s bare", &name, &s.job.workers, &one, &two); err != nil {
			return err
		}
		var e error
		s.job.at, err = time.ParseDuration(one)
		s.job.runs, e = time.ParseDuration(two)
		return errors.Join(err, e)
	case "at":
		if err := scan("at %s kill %s", &one, &name); err != nil {
			return err
		}
		at, err := time.ParseDuration(one)
		if s.kill != 0 && s.kill != at {
			return errors.New("killed at another time")
		}
		s.kill = at
		return errors.Join(err, s.condemn(name))
	case "end", "expect", "seed", "clocks":
		return nil
	}
	return errors.New("not known here")
}

// condemn adds the pilots of a place, such as delft.* or delft.0-2, to the victims.
func (s *scenario) condemn(place string) error {
	name, which, _ := strings.Cut(place, ".")
	i := slices.IndexFunc(s.sites, func(at scenarioSite) bool { return at.name == name })
	if i < 0 {
		return errors.New("no such site")
	}
	first, last := 0, s.sites[i].pilots-1
	if which != "*" {
		if n, _ := fmt.Sscanf(which, "%d-%d", &first, &last); n == 1 {
			last = first
		} else if n != 2 {
			return errors.New("no such place")
		}
	}
	for n := first; n <= last; n++ {
		s.victims[fmt.Sprintf("%s.%d", name, n)] = true
	}
	return nil
}

// TestWANCalibration lets one scenario happen to forty simulated nodes and to
// forty real ones, at four sites, and compares what they send and how soon they
// recover.
func TestWANCalibration(t *testing.T) {
	testbed.Require(t)
	text, ok := sim.BuiltIn("calibration")
	if !ok {
		t.Fatal("there is no scenario called calibration")
	}
	story, err := readScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	var simulated []outcome
	for seed := range seeds {
		simulated = append(simulated, simulate(t, story, seed+1))
	}
	var wrong []string
	for n := range tries {
		t.Run(fmt.Sprintf("try %d", n+1), func(t *testing.T) { wrong = disagreements(t, simulated, reality(t, story)) })
		if len(wrong) == 0 {
			return
		}
	}
	for _, line := range wrong {
		t.Error(line)
	}
}

// disagreements compares simulations and reality.
func disagreements(t *testing.T, simulated []outcome, real outcome) (wrong []string) {
	agree := func(what string, of func(outcome) float64, atLeast float64) {
		low, high, got := math.Inf(1), 0.0, of(real)
		for _, o := range simulated {
			low, high = min(low, of(o)), max(high, of(o))
		}
		if max(high, got) < atLeast {
			t.Logf("%-14s simulated %8.2f to %8.2f, real %8.2f: too few to compare", what, low, high, got)
			return
		}
		near := min(max(got, low), high) // what it is to agree with
		d := 0.0
		if got != near {
			d = 1 - min(near, got)/max(near, got)
		}
		t.Logf("%-14s simulated %8.2f to %8.2f, real %8.2f: %3.0f %%", what, low, high, got, 100*d)
		if d > agreement {
			wrong = append(wrong, fmt.Sprintf("%s: %.2f to %.2f simulated and %.2f real differ by %.0f %%", what, low, high, got, 100*d))
		}
	}
	kinds := maps.Clone(real.counts)
	for _, o := range simulated {
		maps.Copy(kinds, o.counts)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		switch kind {
		case "leave", "retire": // how the session ends is not part of the scenario
			continue
		}
		agree(kind, func(o outcome) float64 { return float64(o.counts[kind]) }, few)
	}
	if simulated[0].lost == 0 || real.lost == 0 { // how many of them run where is chance
		wrong = append(wrong, fmt.Sprintf("%d workers lost in simulation and %d in reality, want some", simulated[0].lost, real.lost))
	}
	t.Logf("workers lost: simulated %d, real %d", simulated[0].lost, real.lost)
	agree("losses seen", func(o outcome) float64 { return o.seen }, 0)
	agree("replaced", func(o outcome) float64 { return o.back }, 0)
	return wrong
}

// simulate plays the scenario with a seed.
func simulate(t *testing.T, story *scenario, seed int) outcome {
	s, err := sim.ParseScenario("calibration.txt", fmt.Sprintf("%s\nseed %d\n", story.text, seed))
	if err != nil {
		t.Fatal(err)
	}
	type sent struct {
		kind string
		at   float64
	}
	var all []sent
	result := s.Play(nil, func(m sim.Message) {
		if !story.victims[m.From] {
			all = append(all, sent{m.Kind, m.Time})
		}
	})
	if len(result.Jobs) != 1 {
		t.Fatalf("%d jobs in the scenario, want one", len(result.Jobs))
	}
	o := outcome{counts: make(map[string]int)}
	over := story.job.at.Seconds() + result.Jobs[0].Seconds + 1
	for _, m := range all {
		if m.at <= over {
			o.counts[m.kind]++
		}
	}
	for _, line := range result.Violations {
		t.Errorf("in the simulation: %s", line)
	}
	for _, r := range result.Recoveries { // of one moment
		o.seen, o.back, o.lost = max(o.seen, r.Seen), max(o.back, r.Replaced), o.lost+r.Workers
	}
	return o
}

// reality lets the scenario happen to processes in namespaces.
func reality(t *testing.T, story *scenario) outcome {
	var said syncBuffer
	var places []testbed.Place
	for _, s := range story.sites {
		places = append(places, testbed.Place{Name: s.name})
	}
	w := newWide(t, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})), places...)
	var heads []*testbed.Host
	named := make(map[string]*testbed.Site)
	for i, s := range w.net.Sites {
		heads = append(heads, s.Head)
		named[s.Name] = s
		w.net.SetRTT(w.net.Home, s, story.sites[i].home)
	}
	for pair, rtt := range story.wan {
		w.net.SetRTT(named[pair[0]], named[pair[1]], rtt)
	}
	began := time.Now()
	var mu sync.Mutex
	var agents, victims []*process
	condemned := make(map[string]bool) // by the names that pilots give themselves
	g, ctx := errgroup.WithContext(t.Context())
	for i, at := range w.net.Sites {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			s, err := w.startHub(ctx, at)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			agents = append(agents, s.hub)
			for n := range story.sites[i].pilots {
				name := fmt.Sprintf("%s.%d", at.Name, n)
				p, err := w.startPilot(s, at.Head, name, story.sites[i].slots)
				switch {
				case err != nil:
					return err
				case story.victims[name]:
					victims = append(victims, p)
					condemned[name] = true
				default:
					agents = append(agents, p)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	up := 0
	w.await("all pilots are up", patience, func(e core.Event) bool {
		if p, ok := e.(core.PeerUp); ok && p.Peer.Role == wire.RolePilot {
			up++
		}
		return up == len(agents)-len(places)+len(victims)
	})
	t.Logf("%d pilots are up after %v", up, time.Since(began))
	if early := time.Until(began.Add(story.job.at)); early > 0 {
		<-time.After(early)
	}
	w.keepLogs(heads...)
	spec := job.Spec{Want: story.job.workers, Lease: calibrationLease, GangWait: time.Minute, Program: wire.Program{
		Argv: []string{"/bin/sh", "-c", fmt.Sprintf("exec sleep %d", int(story.job.runs.Seconds()))}, KillGrace: time.Second}}
	rand.Read(spec.ID[:])
	w.call(func(now time.Duration, n *core.Node) error { return n.Submit(now, spec) })

	// From here on, note what becomes of whom.
	on := make(map[wire.Key]wire.Peer)
	kill := time.NewTimer(time.Until(began.Add(story.kill)))
	defer kill.Stop()
	late := time.NewTimer(3 * time.Minute)
	defer late.Stop()
	lost, again := make(map[wire.Key]time.Duration), make(map[wire.Key]time.Duration)
	var killed time.Time
	for over := false; !over; {
		select {
		case <-kill.C:
			killed = time.Now()
			for _, p := range victims {
				p.cmd.Process.Kill()
			}
			for key, peer := range on {
				if condemned[peer.Name] {
					lost[key] = -1
				}
			}
		case e := <-w.events:
			switch e := e.(type) {
			case core.WorkerChanged:
				switch e.Change {
				case job.Running:
					on[e.Key] = e.Peer
					old := e.Key
					for old.Attempt--; old.Attempt > 0; old.Attempt-- {
						if _, ok := lost[old]; ok {
							again[old] = time.Since(killed)
						}
					}
				case job.Lost:
					if _, ok := lost[e.Key]; ok {
						lost[e.Key] = time.Since(killed)
					} else {
						t.Errorf("worker %d on %s is lost, which was not killed: %s", e.Key.Rank, e.Peer.Site, e.Reason)
					}
				}
			case core.JobEnded:
				over = true
				if e.Outcome != job.OK {
					t.Errorf("the job ended with %+v", e)
				}
			}
		case <-late.C:
			t.Fatal("the job does not end")
		}
	}
	t.Logf("the job ended after %v; %d workers were lost and %d of them replaced", time.Since(began), len(lost), len(again))
	if len(again) != len(lost) {
		t.Errorf("%d workers were lost and %d of them replaced", len(lost), len(again))
	}
	w.retire(agents...)
	o := outcome{counts: make(map[string]int), lost: len(lost)}
	for _, d := range lost {
		o.seen = max(o.seen, d.Seconds())
	}
	for _, d := range again {
		o.back = max(o.back, d.Seconds())
	}
	tallies := 0
	for lines := bufio.NewScanner(strings.NewReader(w.takeLogs(heads...) + said.String())); lines.Scan(); {
		counts, ok := tallyOf(lines.Text())
		if !ok {
			continue
		}
		tallies++
		for kind, n := range counts {
			o.counts[kind] += n
		}
	}
	if want := len(agents) + 1; tallies != want {
		t.Errorf("%d nodes told what they sent, want %d", tallies, want)
	}
	w.net.NoLeftovers(t)
	return o
}

// tallyOf reads the line of a log in which an agent tells what it sent.
func tallyOf(line string) (map[string]int, bool) {
	if !strings.Contains(line, `"messages sent"`) {
		return nil, false
	}
	from, to := strings.IndexByte(line, '{'), strings.LastIndexByte(line, '}')
	if from < 0 || to < from {
		return nil, false
	}
	var counts map[string]int
	err := json.Unmarshal([]byte(strings.ReplaceAll(line[from:to+1], `\"`, `"`)), &counts)
	return counts, err == nil
}

// syncBuffer is a log in memory.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
