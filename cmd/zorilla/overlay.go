package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

// psOverlay shows the network of one run.
func psOverlay(c *cli.Context, stdout *os.File) error {
	if c.NArg() > 1 {
		return usage(c.Command.HelpName, "--overlay shows one RUN")
	}
	state, err := openState()
	if err != nil {
		return err
	}
	name, err := liveRun(c, state)
	if err != nil {
		return err
	}
	control, err := state.Control(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, 10*time.Second)
	defer cancel()
	o, err := control.Overlay(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return json.NewEncoder(stdout).Encode(struct {
			V   int    `json:"v"`
			Run string `json:"run"`
			launcher.Overlay
		}{1, name, o})
	}
	return writeOverlay(stdout, o)
}

// liveRun returns the run that is named, or the only one that goes on.
func liveRun(c *cli.Context, state *launcher.State) (string, error) {
	if c.NArg() == 1 {
		info, err := findRun(c, state, c.Args().First())
		if err != nil {
			return "", err
		}
		if !info.Running {
			return "", fmt.Errorf("run %s: %w", info.Begun.Run, launcher.ErrNotRunning)
		}
		return info.Begun.Run, nil
	}
	runs, err := state.Runs()
	if err != nil {
		return "", err
	}
	runs = slices.DeleteFunc(runs, func(r launcher.RunInfo) bool { return !r.Running })
	switch len(runs) {
	case 0:
		return "", errors.New("no run goes on")
	case 1:
		return runs[0].Begun.Run, nil
	}
	return "", usage(c.Command.HelpName, "%d runs go on: want one RUN; zorilla ps lists them", len(runs))
}

// writeOverlay writes an overlay as two tables: nodes, by site and role, and
// links.
func writeOverlay(out io.Writer, o launcher.Overlay) error {
	order := make(map[string]int)
	slices.SortStableFunc(o.Nodes, func(a, b launcher.OverlayNode) int {
		return cmp.Or(cmp.Compare(rank(a.Role), rank(b.Role)), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	for i, n := range o.Nodes {
		order[n.ID] = i
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tSITE\tHOST\tSLOTS\tHUBS\tPLACE (MS)")
	for _, n := range o.Nodes {
		var hubs []string
		for _, h := range n.Hubs {
			hubs = append(hubs, short(h))
		}
		state := place(n.Coordinate)
		if n.Lost {
			state = "cannot be reached"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", short(n.ID), n.Role, n.Site, dash(n.Host), dash(number(n.Slots)), dash(strings.Join(hubs, " ")), state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(o.Links) == 0 {
		return nil
	}
	for i, l := range o.Links {
		if order[l.A] > order[l.B] {
			o.Links[i].A, o.Links[i].B = l.B, l.A
		}
	}
	slices.SortStableFunc(o.Links, func(a, b launcher.OverlayLink) int {
		return cmp.Or(cmp.Compare(order[a.A], order[b.A]), cmp.Compare(order[a.B], order[b.B]))
	})
	fmt.Fprintln(w, "\nLINK\t\tPATH\tRTT")
	for _, l := range o.Links {
		rtt := "-"
		if l.RTTMS > 0 {
			rtt = fmt.Sprintf("%.3g ms", l.RTTMS)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", short(l.A), short(l.B), l.Path, rtt)
	}
	return w.Flush()
}

// rank orders roles as people think of them.
func rank(role string) int { return slices.Index([]string{"launcher", "hub", "pilot"}, role) }

// short is the beginning of an identity, enough to tell nodes apart.
func short(id string) string { return id[:min(len(id), 8)] }

func place(c *launcher.OverlayCoordinate) string {
	if c == nil {
		return "-"
	}
	var text []string
	for _, x := range c.PositionMS {
		text = append(text, fmt.Sprintf("%.1f", x))
	}
	return fmt.Sprintf("%s +%.1f", strings.Join(text, " "), c.HeightMS)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
