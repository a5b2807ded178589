// Command zorilla-sim runs the whole distributed system in memory, in virtual
// time, under faults, and says whether everything held.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

func main() {
	if err := app(os.Stdout, os.Stderr).Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "zorilla-sim:", err)
		os.Exit(1)
	}
}

// errViolated is how a run ends in which something did not hold.
var errViolated = errors.New("something did not hold")

// outcome is one line of output.
type outcome struct {
	sim.Result
	Wall  float64 `json:"wall_s"`
	Bytes int64   `json:"bytes_per_idle_node"`
}

func app(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:      "zorilla-sim",
		Usage:     "run the whole system in simulation",
		Writer:    stdout,
		ErrWriter: stderr,
		Commands: []*cli.Command{{
			Name:  "run",
			Usage: "run one simulation; exit status 1 when something did not hold",
			Flags: []cli.Flag{
				&cli.IntFlag{Name: "nodes", Value: 200, Usage: "launcher, hubs and pilots together"},
				&cli.IntFlag{Name: "seconds", Value: 120, Usage: "virtual seconds of jobs and faults"},
				&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
				&cli.Uint64Flag{Name: "seeds", Value: 1, Usage: "run this many seeds, from `seed` on"},
				&cli.BoolFlag{Name: "calm", Usage: "no faults"},
				&cli.BoolFlag{Name: "json", Usage: "one line of JSON for each run"},
				&cli.BoolFlag{Name: "log", Usage: "tell what happens, on standard error"},
			},
			Action: func(c *cli.Context) error { return run(c, stdout, stderr) },
		}, gossipCommand(stdout), coordinatesCommand(stdout)},
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
	}
}

func run(c *cli.Context, stdout, stderr io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("run takes no argument, not %q", c.Args().First())
	}
	bytes := sim.IdleBytes(1000)
	var failed error
	for i := range c.Uint64("seeds") {
		cfg := sim.Config{Nodes: c.Int("nodes"), Seconds: c.Int("seconds"), Seed: c.Uint64("seed") + i, Calm: c.Bool("calm")}
		if c.Bool("log") {
			cfg.Log = func(now time.Duration, text string) { fmt.Fprintf(stderr, "%9.3f %s\n", now.Seconds(), text) }
		}
		began := time.Now()
		r, err := sim.Run(cfg)
		if err != nil {
			return err
		}
		out := outcome{r, time.Since(began).Seconds(), bytes}
		if c.Bool("json") {
			if err := json.NewEncoder(stdout).Encode(out); err != nil {
				return err
			}
		} else {
			show(stdout, out)
		}
		if len(r.Violations) > 0 {
			fmt.Fprintln(stderr, "again with:", cfg.Command())
			failed = errViolated
		}
	}
	return failed
}

// show prints a result for people.
func show(w io.Writer, o outcome) {
	fmt.Fprintf(w, "seed %d: digest %s, %d nodes, %d events, %d messages, %d faults, %.0f virtual seconds in %.1f s, %d bytes per idle node\n",
		o.Seed, o.Digest, o.Nodes, o.Events, o.Messages, o.Faults, o.Virtual, o.Wall, o.Bytes)
	for _, j := range o.Jobs {
		fmt.Fprintf(w, "  job %s of the %s: %d of %d workers done, %d attempts lost, %s (exit %d) after %.1f s\n",
			j.ID, j.Primary, j.Done, j.Want, j.Lost, j.Outcome, j.Exit, j.Seconds)
	}
	for _, v := range o.Violations {
		fmt.Fprintln(w, "  VIOLATION:", v)
	}
}
