package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi/trial"
)

func coordinatesCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "coordinates",
		Usage: "let nodes find their network coordinates and nearest neighbours on a matrix of round-trip times",
		Description: "Prints the errors after rounds 30, 100 and the last. In a round each node probes one other;\n" +
			"an exchange is timed at both of its ends. Pairs without a time in either direction are left out,\n" +
			"the two directions averaged.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rtt", Usage: "read the square matrix from `FILE`; without it one is made up"},
			&cli.StringFlag{Name: "unit", Value: "ms", Usage: "of the matrix, ms or s"},
			&cli.IntFlag{Name: "nodes", Value: 490, Usage: "of the made-up matrix"},
			&cli.IntFlag{Name: "rounds", Value: 300, Usage: "probes of each node"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.BoolFlag{Name: "asker-only", Usage: "only the node that asks learns from a probe, for comparison"},
			&cli.BoolFlag{Name: "json", Usage: "one line of JSON for each score"},
		},
		Action: func(c *cli.Context) error { return coordinates(c, stdout) },
	}
}

func coordinates(c *cli.Context, stdout io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("coordinates takes no argument, not %q", c.Args().First())
	}
	rounds := c.Int("rounds")
	if rounds < 1 || rounds > 100_000 {
		return fmt.Errorf("%d rounds: want 1 to 100000", rounds)
	}
	m, err := matrix(c)
	if err != nil {
		return err
	}
	t := trial.New(m, trial.Options{Seed: c.Uint64("seed"), AskerOnly: c.Bool("asker-only")})
	for round := 1; round <= rounds; round++ {
		t.Round()
		if round != 30 && round != 100 && round != rounds {
			continue
		}
		s := t.Score()
		if c.Bool("json") {
			err = json.NewEncoder(stdout).Encode(s)
		} else {
			_, err = fmt.Fprintf(stdout, "round %d: relative error %.3f in the median, %.3f at 90 %%; a truly near neighbour found by %.1f %%; %.2f probes and %.2f coordinates told per node and round\n",
				s.Round, s.Median, s.P90, 100*s.Near, s.Probes, s.Told)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func matrix(c *cli.Context) (trial.Matrix, error) {
	unit := time.Millisecond
	switch c.String("unit") {
	case "ms":
	case "s":
		unit = time.Second
	default:
		return nil, fmt.Errorf("unit %q: want ms or s", c.String("unit"))
	}
	if c.String("rtt") == "" {
		n := c.Int("nodes")
		if n < 2 || n > trial.MaxNodes {
			return nil, fmt.Errorf("%d nodes: want 2 to %d", n, trial.MaxNodes)
		}
		return trial.Synthetic(n, c.Uint64("seed")), nil
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
