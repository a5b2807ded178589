package sim

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Scenario is a simulation that was written down: where the nodes are, which
// jobs there are, what goes wrong when, and what is expected of it.
//
//	site  NAME [hubs N] [reach CLASS] [behind SITE] [lan TIME] [home TIME]
//	pilots SITE COUNT [slots N] [reach CLASS]
//	grid  NODES                         sites of about 25 nodes, made up, in place of sites
//	wan   SITE SITE TIME                round trip between two sites
//	seed  N
//	clocks exact|skewed                 skewed by default
//	noise PERCENT                       of messages lost; as many come twice, three times as many late
//	job   NAME workers N [min N] [runs TIME] [at TIME] [by PLACE] [lease TIME] [gang-wait TIME] [on-failure POLICY] [bare]
//	                                    bare: without files to fetch
//	at    TIME kill PLACE [machine]     its process dies, or its whole machine
//	at    TIME boot PLACE
//	at    TIME cut PLACE|SITE for TIME  nothing passes
//	at    TIME apart SITE,... for TIME  these sites do not reach the others
//	at    TIME slow PLACE for TIME      up to two seconds late, always
//	at    TIME starve PLACE TIME for TIME   without a processor, for up to so long each time
//	at    TIME break PLACE              its oldest connection, with all that is on its way
//	at    TIME noise PERCENT
//	at    TIME cancel JOB
//	end   TIME                          then jobs must come to an end, and the session is ended
//	expect job NAME OUTCOME [within TIME]
//	expect lost JOB COUNT               attempts
//	expect seen within TIME             the loss of every worker on a node that was killed
//	expect replaced within TIME         each of them, by one that runs
//	expect deaths COUNT                 told by a node about others that had not left
//
// A PLACE is launcher, SITE.hub0, SITE.3, SITE.0-10, SITE.* (its pilots),
// SITE.hubs or * (all pilots). A # begins a comment. Times are as in Go, such
// as 1m30s; those of events count from the beginning.
type Scenario struct {
	name   string
	world  worldConfig
	grid   int
	jobs   []plannedJob
	events []plannedEvent
	end    time.Duration
	expect []expectation
	calm   bool
}

type plannedJob struct {
	name string
	line int
	spec job.Spec
	runs time.Duration
	at   time.Duration
	by   string
}

// plannedEvent is something that is to happen to places, or to everything.
type plannedEvent struct {
	line    int
	at      time.Duration
	what    string
	place   string // or site, or job
	machine bool
	most    time.Duration // of starve
	last    time.Duration
	noise   float64
}

// expectation is what must have come of a scenario.
type expectation struct {
	line   int
	text   string
	what   string // job, lost, seen, replaced or deaths
	job    string
	word   string // the outcome
	count  int
	within time.Duration // 0: whenever
}

//go:embed testdata/*.txt
var scenarios embed.FS

// Scenarios returns the names of the scenarios that are built in.
func Scenarios() []string {
	list, err := scenarios.ReadDir("testdata")
	if err != nil {
		return nil // there is always one
	}
	var names []string
	for _, f := range list {
		names = append(names, strings.TrimSuffix(f.Name(), ".txt"))
	}
	return names
}

// BuiltIn returns a scenario by its name; false when there is none.
func BuiltIn(name string) (text string, ok bool) {
	if !slices.Contains(Scenarios(), name) {
		return "", false
	}
	b, err := scenarios.ReadFile("testdata/" + name + ".txt")
	return string(b), err == nil
}

// ParseScenario reads a scenario. Errors name the file and the line.
func ParseScenario(file, text string) (*Scenario, error) {
	p := parser{file: file, s: &Scenario{name: strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], ".txt"),
		world: worldConfig{Seed: 1, Skew: true}, calm: true}}
	for i, line := range strings.Split(text, "\n") {
		p.line = i + 1
		line, _, _ = strings.Cut(line, "#")
		if p.words = strings.Fields(line); len(p.words) > 0 {
			if err := p.statement(strings.Join(p.words, " ")); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
			}
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.s, nil
}

// Override sets the seed of a scenario in place of its own.
func (s *Scenario) Override(seed uint64) { s.world.Seed = seed }

// Seed returns the seed.
func (s *Scenario) Seed() uint64 { return s.world.Seed }

func (s *Scenario) job(name string) int {
	return slices.IndexFunc(s.jobs, func(j plannedJob) bool { return j.name == name })
}
