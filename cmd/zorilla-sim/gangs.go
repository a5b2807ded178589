package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

// gangsCommand lets many gangs look for slots at once.
func gangsCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "gangs",
		Usage: "let many gangs with primaries of their own look for slots at once, and say when all have run",
		Description: "Runs whole nodes as `gang` does. One gang is the launcher's, the others are those of pilots; all are\n" +
			"submitted within a second.\n\n" +
			"`stuck` counts the gangs that have not run to their end after four times the ideal. `makespan` is the time in\n" +
			"virtual seconds from the first submission to the last end, everything that a job takes included. `ideal` is the\n" +
			"makespan of a scheduler that knows everything and takes no time: slots/want gangs at once, rounded down, in\n" +
			"rounds, each as long as a worker runs. `idle_share` is the core time for which slots were held or offered\n" +
			"while their gang was not complete, beside the core time that the workers ran.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 1000, Usage: "pilots with a slot each; hubs and launcher come on top"},
			&cli.IntFlag{Name: "jobs", Value: 40, Usage: "gangs"},
			&cli.IntFlag{Name: "want", Value: 100, Usage: "workers of each gang"},
			&cli.IntFlag{Name: "sites", Usage: "over which the pilots are spread; without it one for 100 pilots, at most 100"},
			&cli.DurationFlag{Name: "runs", Usage: "how long each worker runs; without it a minute"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.Uint64Flag{Name: "seeds", Value: 1, Usage: "run this many seeds, from `seed` on"},
			&cli.BoolFlag{Name: "json", Usage: "one line of JSON for each run"},
			&cli.BoolFlag{Name: "log", Usage: "tell what happens, on standard error"},
			traceFlag(),
		},
		Action: func(c *cli.Context) error { return runGangs(c, stdout, stderr) },
	}
}

func runGangs(c *cli.Context, stdout, stderr io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("gangs takes no argument, not %q", c.Args().First())
	}
	trace, err := openTrace(c)
	if err != nil {
		return err
	}
	defer trace.abandon()
	var failed error
	for i := range c.Uint64("seeds") {
		g, err := sim.RunGangs(sim.GangsConfig{Nodes: c.Int("nodes"), Sites: c.Int("sites"), Jobs: c.Int("jobs"), Want: c.Int("want"),
			Runs: c.Duration("runs"), Seed: c.Uint64("seed") + i, Trace: trace.message(), Log: logTo(c, stderr)})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			err = json.NewEncoder(stdout).Encode(g)
		} else {
			_, err = fmt.Fprintf(stdout, "seed %d: %d of %d gangs stuck; all done after %.1f s, ideal %.1f s (%.3f times); %.1f %% of the core time held idle\n",
				g.Seed, g.Stuck, g.Jobs, g.Makespan, g.Ideal, g.Ratio, 100*g.Idle)
		}
		if err != nil {
			return err
		}
		if len(g.Violations) > 0 {
			fmt.Fprintln(stderr, strings.Join(g.Violations, "\n"))
			failed = errViolated
		}
	}
	return errors.Join(failed, trace.close())
}
