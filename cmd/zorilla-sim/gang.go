package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi/trial"
	"github.com/zorilla-grid/zorilla/pilot/sim"
)

// gangCommand lets one gang look for slots in a session that has few.
func gangCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "gang",
		Usage: "let one gang look for slots where few are free, and say how near each other the found ones are",
		Description: "Runs whole nodes: pilots of one slot each, spread evenly over sites, a hub for each site, and a launcher,\n" +
			"which submits the gang. The owners of the busy pilots keep their slots. Hubs and launcher are up for ten\n" +
			"virtual minutes before the pilots come.\n\n" +
			"`messages` are adverts, claims, holds, grants, refusals, releases, and a primary's questions for free slots with\n" +
			"their answers, as their authors send them, until 5 s after the last grant: what hubs pass on counts once. The\n" +
			"copies of adverts that hubs make and pass on are `fanout`. What hubs tell each other of free slots, and a pilot\n" +
			"its hub, is not the job's and not counted. `seconds` is from submission to the last grant. `mean_rtt_ratio`\n" +
			"is the gang's mean round-trip time over all pairs on the true matrix beside the best set of free slots that\n" +
			"simulated annealing finds there.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 10_000, Usage: "pilots; hubs and launcher come on top"},
			&cli.StringFlag{Name: "free", Value: "0.02", Usage: "of them with a free slot: a share (0.02 or 2%) or, from 1 on, a number"},
			&cli.IntFlag{Name: "want", Value: 64, Usage: "workers of the gang"},
			&cli.IntFlag{Name: "sites", Usage: "over which the pilots are spread; without it one for 100 pilots, at most 100"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.BoolFlag{Name: "tables", Value: true, Usage: "ask where slots are known to be free; without it search in rings"},
			&cli.StringFlag{Name: "rtt", Usage: "put the sites on places of the square matrix of round-trip times in `FILE`; without it one is made up"},
			&cli.StringFlag{Name: "unit", Value: "ms", Usage: "of the matrix, ms or s"},
			&cli.BoolFlag{Name: "json", Usage: "one line of JSON"},
			&cli.BoolFlag{Name: "log", Usage: "tell what happens, on standard error"},
			traceFlag(),
		},
		Action: func(c *cli.Context) error { return runGang(c, stdout, stderr) },
	}
}

func runGang(c *cli.Context, stdout, stderr io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("gang takes no argument, not %q", c.Args().First())
	}
	free, err := parseFree(c.String("free"), c.Int("nodes"))
	if err != nil {
		return err
	}
	rtt, err := realMatrix(c)
	if err != nil {
		return err
	}
	trace, err := openTrace(c)
	if err != nil {
		return err
	}
	defer trace.abandon()
	cfg := sim.GangConfig{Nodes: c.Int("nodes"), Sites: c.Int("sites"), Free: free, Want: c.Int("want"),
		Seed: c.Uint64("seed"), Blind: !c.Bool("tables"), RTT: rtt, Trace: trace.message(), Log: logTo(c, stderr)}
	g, err := sim.RunGang(cfg)
	if err == nil {
		err = trace.close()
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = json.NewEncoder(stdout).Encode(g)
	} else {
		fmt.Fprintf(stdout, "seed %d: %d of %d granted in %.2f s with %d messages (%v), %d more passed on by hubs; mean round-trip time %.2f ms, %.3f times the best\n",
			g.Seed, g.Granted, g.Want, g.Seconds, g.Messages, counted(g.Kinds), g.Fanout, g.MeanRTT, g.Ratio)
	}
	if err == nil && len(g.Violations) > 0 {
		fmt.Fprintln(stderr, strings.Join(g.Violations, "\n"))
		return errViolated
	}
	return err
}

// counted names kinds of messages with their numbers.
func counted(kinds map[string]int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, fmt.Sprintf("%s %d", kind, kinds[kind]))
	}
	return strings.Join(list, ", ")
}

// parseFree reads how many of some nodes are free.
func parseFree(s string, nodes int) (int, error) {
	digits, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(digits, 64)
	switch {
	case err != nil || !(f >= 0):
		return 0, fmt.Errorf("free %q: want a share such as 0.02 or 2%%, or a number of nodes", s)
	case percent:
		f *= float64(nodes) / 100
	case f < 1:
		f *= float64(nodes)
	case f != float64(int(f)):
		return 0, fmt.Errorf("free %q: no whole number", s)
	}
	if f > float64(nodes) {
		return 0, fmt.Errorf("free %q: there are %d nodes", s, nodes)
	}
	return int(f + 0.5), nil
}

// realMatrix reads the matrix that is asked for, if any.
func realMatrix(c *cli.Context) ([][]time.Duration, error) {
	if c.String("rtt") == "" {
		return nil, nil
	}
	unit := time.Millisecond
	switch c.String("unit") {
	case "ms":
	case "s":
		unit = time.Second
	default:
		return nil, fmt.Errorf("unit %q: want ms or s", c.String("unit"))
	}
	f, err := os.Open(c.String("rtt"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := trial.Read(f, unit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.String("rtt"), err)
	}
	return m, nil
}

// logTo returns where a simulation tells what happens.
func logTo(c *cli.Context, stderr io.Writer) func(time.Duration, string) {
	if !c.Bool("log") {
		return nil
	}
	return func(now time.Duration, text string) { fmt.Fprintf(stderr, "%9.3f %s\n", now.Seconds(), text) }
}
