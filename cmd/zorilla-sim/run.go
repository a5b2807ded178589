package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

// errViolated is how a run ends in which something did not hold.
var errViolated = errors.New("something did not hold")

// measured is what one line of output holds beside the outcome.
type measured struct {
	Wall  float64 `json:"wall_s"`
	Bytes int64   `json:"bytes_per_idle_node"`
}

func runCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "run one simulation; exit status 1 when something did not hold",
		Description: "Without a scenario: jobs and faults by chance, on sites by chance, until all jobs have come to\n" +
			"an end and the session has. A scenario is a file, or one of those built in: " + strings.Join(sim.Scenarios(), ", ") + ".",
		Flags: append([]cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 200, Usage: "launcher, hubs and pilots together"},
			&cli.IntFlag{Name: "seconds", Value: 120, Usage: "virtual seconds of jobs and faults"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.Uint64Flag{Name: "seeds", Value: 1, Usage: "run this many seeds, from `seed` on"},
			&cli.BoolFlag{Name: "calm", Usage: "no faults"},
			&cli.StringFlag{Name: "rtt", Usage: "round trips between sites: a square matrix in `FILE`; without it they are made up"},
			&cli.StringFlag{Name: "unit", Value: "ms", Usage: "of the matrix, ms or s"},
			&cli.StringFlag{Name: "scenario", Usage: "what is written in `FILE`, in place of nodes, seconds, calm and rtt"},
			&cli.BoolFlag{Name: "json", Usage: "one line of JSON for each run"},
			&cli.BoolFlag{Name: "log", Usage: "tell what happens, on standard error"},
			&cli.StringFlag{Name: "dot", Usage: "write the overlay, as it is when the last job has ended, to `FILE` for Graphviz"},
			&cli.StringFlag{Name: "svg", Usage: "the same as a picture"},
		}, traceFlag()),
		Action: func(c *cli.Context) error { return run(c, stdout, stderr) },
	}
}

func run(c *cli.Context, stdout, stderr io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("run takes no argument, not %q", c.Args().First())
	}
	// A simulation makes much that is short-lived, in one goroutine: memory is
	// cheaper than looking through it often.
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	trace, err := openTrace(c)
	if err != nil {
		return err
	}
	defer trace.abandon()
	var log func(time.Duration, string)
	if c.Bool("log") {
		log = func(now time.Duration, text string) { fmt.Fprintf(stderr, "%9.3f %s\n", now.Seconds(), text) }
	}
	if c.String("scenario") != "" {
		err = play(c, stdout, stderr, log, trace)
	} else {
		err = runSeeds(c, stdout, stderr, log, trace)
	}
	return errors.Join(err, trace.close())
}

func runSeeds(c *cli.Context, stdout, stderr io.Writer, log func(time.Duration, string), trace *trace) error {
	cfg := sim.Config{Nodes: c.Int("nodes"), Seconds: c.Int("seconds"), Calm: c.Bool("calm"), Log: log, Trace: trace.message()}
	if c.String("rtt") != "" {
		m, err := matrix(c)
		if err != nil {
			return err
		}
		cfg.RTT, cfg.RTTFlags = m, fmt.Sprintf("--rtt %s --unit %s", c.String("rtt"), c.String("unit"))
	}
	bytes := sim.IdleBytes(100)
	var failed error
	for i := range c.Uint64("seeds") {
		cfg.Seed = c.Uint64("seed") + i
		began := time.Now()
		r, err := sim.Run(cfg)
		if err != nil {
			return err
		}
		m := measured{time.Since(began).Seconds(), bytes}
		if c.Bool("json") {
			err = json.NewEncoder(stdout).Encode(struct {
				sim.Result
				measured
			}{r, m})
		} else {
			show(stdout, r, m)
		}
		if err = errors.Join(err, draw(c, r.Overlay)); err != nil {
			return err
		}
		if len(r.Violations) > 0 {
			fmt.Fprintln(stderr, "again with:", cfg.Command())
			failed = errViolated
		}
	}
	return failed
}

// play runs a scenario from a file, or one that is built in.
func play(c *cli.Context, stdout, stderr io.Writer, log func(time.Duration, string), trace *trace) error {
	for _, name := range []string{"nodes", "seconds", "calm", "rtt", "seeds"} {
		if c.IsSet(name) {
			return fmt.Errorf("a scenario says itself what --%s is", name)
		}
	}
	file := c.String("scenario")
	text, ok := sim.BuiltIn(file)
	if !ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("scenario: %w (there are %s)", err, strings.Join(sim.Scenarios(), ", "))
		}
		text = string(b)
	}
	s, err := sim.ParseScenario(file, text)
	if err != nil {
		return err
	}
	if c.IsSet("seed") {
		s.Override(c.Uint64("seed"))
	}
	bytes := sim.IdleBytes(100)
	began := time.Now()
	out := s.Play(log, trace.message())
	m := measured{time.Since(began).Seconds(), bytes}
	if c.Bool("json") {
		err = json.NewEncoder(stdout).Encode(struct {
			sim.Outcome
			measured
		}{out, m})
	} else {
		show(stdout, out.Result, m)
		for _, r := range out.Recoveries {
			fmt.Fprintf(stdout, "  %d nodes with %d workers killed at %.1f s: losses seen after %.2f to %.2f s, all running again after %.2f s, %d adverts\n",
				r.Nodes, r.Workers, r.At, r.FirstSeen, r.Seen, r.Replaced, r.Adverts)
		}
		for _, line := range out.Report {
			fmt.Fprintln(stdout, " ", line)
		}
	}
	if err = errors.Join(err, draw(c, out.Overlay)); err != nil {
		return err
	}
	if len(out.Violations) > 0 {
		fmt.Fprintf(stderr, "again with: go run ./cmd/zorilla-sim run --scenario %s --seed %d\n", file, s.Seed())
		return errViolated
	}
	return nil
}

// draw writes the pictures that are asked for.
func draw(c *cli.Context, o *sim.Overlay) error {
	for flag, f := range map[string]func() string{"dot": o.Dot, "svg": o.SVG} {
		if name := c.String(flag); name != "" {
			if err := os.WriteFile(name, []byte(f()), 0o644); err != nil {
				return fmt.Errorf("write the overlay: %w", err)
			}
		}
	}
	return nil
}

// show prints a result for people.
func show(w io.Writer, r sim.Result, m measured) {
	fmt.Fprintf(w, "seed %d: digest %s, %d nodes, %d events, %d messages, %d faults, %.0f virtual seconds in %.1f s, %d bytes per idle node\n",
		r.Seed, r.Digest, r.Nodes, r.Events, r.Messages, r.Faults, r.Virtual, m.Wall, m.Bytes)
	for _, j := range r.Jobs {
		fmt.Fprintf(w, "  job %s of the %s: %d of %d workers done, %d attempts lost, %s (exit %d) after %.1f s\n",
			j.ID, j.Primary, j.Done, j.Want, j.Lost, j.Outcome, j.Exit, j.Seconds)
	}
	var kinds []string
	for name := range r.Kinds {
		kinds = append(kinds, name)
	}
	slices.Sort(kinds)
	for i, name := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", r.Kinds[name], name)
	}
	fmt.Fprintf(w, "  %s\n", strings.Join(kinds, ", "))
	for _, v := range r.Violations {
		fmt.Fprintln(w, "  VIOLATION:", v)
	}
}
