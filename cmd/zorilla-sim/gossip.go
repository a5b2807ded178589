package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/overlay/gossip/gossipsim"
)

// gossipCommand simulates peer sampling alone.
func gossipCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "gossip",
		Usage: "let nodes find each other, and say who is known to how many",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 1000, Usage: "hubs and pilots together"},
			&cli.IntFlag{Name: "rounds", Value: 100, Usage: "rounds of 5 virtual seconds"},
			&cli.Float64Flag{Name: "loss", Usage: "probability that a message is lost"},
			&cli.Float64Flag{Name: "hidden", Usage: "share of the nodes that are reached through their hubs only"},
			&cli.Float64Flag{Name: "kill", Usage: "share of the nodes that die after half of the rounds"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.BoolFlag{Name: "json", Usage: "one line of JSON"},
		},
		Action: func(c *cli.Context) error { return runGossip(c, stdout) },
	}
}

func runGossip(c *cli.Context, stdout io.Writer) error {
	if c.Args().Present() {
		return fmt.Errorf("gossip takes no argument, not %q", c.Args().First())
	}
	r, err := gossipsim.Run(gossipsim.Plan{
		Config: gossipsim.Config{Nodes: c.Int("nodes"), Loss: c.Float64("loss"), Hidden: c.Float64("hidden"), Seed: c.Uint64("seed")},
		Rounds: c.Int("rounds"),
		Kill:   c.Float64("kill"),
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return json.NewEncoder(stdout).Encode(r)
	}
	fmt.Fprintf(stdout, "seed %d: %d nodes, each in %.1f views on average (deviation %.1f, %d to %d), %d part(s), %d find each other\n",
		r.Seed, r.Nodes, r.Mean, r.Stddev, r.Min, r.Max, r.Components, r.Strong)
	if c.Float64("kill") > 0 {
		fmt.Fprintf(stdout, "  %d entries of dead nodes left; clean after %d rounds (-1: never)\n", r.DeadEntries, r.RoundsToClean)
	}
	fmt.Fprintf(stdout, "  %d messages, %d bytes, digest %s\n", r.Messages, r.Bytes, r.Digest)
	return nil
}
