package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

func psCommand(stdout, stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:  "ps",
		Usage: "list runs: those that go on, those that ended, and those that left something behind",
		Description: `A run is "running" while its launcher is, "dead" when its launcher ended without
recording an end, and otherwise shown with its outcome. LEFT is the number of
things that may still be at its sites; "zorilla gc" removes them. Runs that left
nothing are forgotten after 30 days. Below the table are the sites that wait
for you to attach, and those where pilots wait in a queue, with the scheduler's own
reason.

With --overlay it shows the network of a run that goes on: its nodes, where they are
in the space of round-trip times, and the links between them and how each was made.

Examples:
   zorilla ps
   zorilla ps --overlay --json ab12cd34 | jq .

Exit status: 0; 2 when there is no such run; 3 when its launcher does not answer.`,
		UsageText: "[--overlay [--json] [RUN]]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "overlay", DisableDefaultText: true, Usage: "show the network of the run that goes on, or of RUN"},
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "with --overlay: print it as one line of JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("overlay") {
				return psOverlay(c, stdout)
			}
			if c.Bool("json") {
				return usage(c.Command.HelpName, "--json goes with --overlay")
			}
			if err := noArguments(c); err != nil {
				return err
			}
			state, err := openState()
			if err != nil {
				return err
			}
			runs, err := state.Runs()
			if err != nil {
				return err
			}
			t := newTable(stdout, "RUN", "STATE", "AGE", "DONE", "RUNNING", "LEFT", "COMMAND")
			var notes []string
			for _, r := range runs {
				st := r.Status
				left := len(r.Leftovers)
				if r.Running {
					left = 0 // in use
					if now, err := statusNow(c.Context, state, r.Begun.Run); err == nil {
						st = now
					}
					for _, site := range st.Sites {
						text := waiting(site.SiteChanged)
						if site.State == "detached" {
							text = fmt.Sprintf("site %s: detached%s", site.Site, because(firstLine(site.Error)))
						}
						if text != "" {
							notes = append(notes, r.Begun.Run+": "+text)
						}
					}
				}
				if r.Err != nil {
					fmt.Fprintf(stderr, "zorilla: run %s: %v\n", r.Begun.Run, r.Err)
				}
				t.row(r.Begun.Run, stateOf(r), since(r.Begun.Time, time.Now()), fmt.Sprintf("%d/%d", st.Done, st.Workers),
					fmt.Sprint(runningOf(r, st)), fmt.Sprint(left), cutTo(shellWords(r.Begun.Command), 60))
			}
			if err := t.flush(); err != nil {
				return err
			}
			for _, text := range notes {
				fmt.Fprintln(stdout, text)
			}
			return nil
		},
	}
}

// statusNow asks a launcher, who may be busy, how its run does.
func statusNow(ctx context.Context, s *launcher.State, run string) (launcher.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	control, err := s.Control(run)
	if err != nil {
		return launcher.Status{}, err
	}
	return control.Status(ctx)
}

// stateOf names the state of a run.
func stateOf(r launcher.RunInfo) string {
	switch {
	case r.Running:
		return "running"
	case r.Ended:
		return string(r.Status.Outcome)
	}
	return "dead"
}

// runningOf returns the number of workers of a run that are running.
func runningOf(r launcher.RunInfo, st launcher.Status) int {
	if !r.Running {
		return 0
	}
	return st.Running
}
