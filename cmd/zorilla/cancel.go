package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

func cancelCommand(stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:      "cancel",
		Usage:     "end a run",
		UsageText: "[flags] RUN",
		Description: `It does what Ctrl-C does where the run was started: the workers are stopped, their
files collected, the sites cleaned up. It does not wait for that.

Examples:
   zorilla cancel ab12cd34
   zorilla cancel --now ab        a beginning that no other run has is enough

Exit status: 0 when the run is being stopped, or has ended; 2 when there is no such
run; 3 when its launcher is dead: "zorilla gc" removes what it left.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "now", DisableDefaultText: true, Usage: "only clean up"},
		},
		Action: func(c *cli.Context) error {
			info, control, err := controlOf(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, 10*time.Second)
			defer cancel()
			err = control.Cancel(ctx, c.Bool("now"))
			if errors.Is(err, launcher.ErrNotRunning) {
				return tellEnded(stderr, info, false)
			}
			if err == nil {
				fmt.Fprintf(stderr, "zorilla: run %s is being stopped\n", info.Begun.Run)
			}
			return err
		},
	}
}

// controlOf returns the one run that the arguments name, and the means to
// speak to its launcher.
func controlOf(c *cli.Context) (launcher.RunInfo, *launcher.Control, error) {
	var info launcher.RunInfo
	if c.NArg() != 1 {
		return info, nil, usage(c.Command.HelpName, "want one RUN; zorilla ps lists them")
	}
	state, err := openState()
	if err != nil {
		return info, nil, err
	}
	if info, err = findRun(c, state, c.Args().First()); err != nil {
		return info, nil, err
	}
	control, err := state.Control(info.Begun.Run)
	return info, control, err
}

// tellEnded tells that a run has no launcher any more. It returns the error
// that the command should end with: the run's own status if own is set.
func tellEnded(stderr *os.File, info launcher.RunInfo, own bool) error {
	name := info.Begun.Run
	status := launcher.ExitSites
	switch {
	case info.Ended:
		fmt.Fprintf(stderr, "zorilla: run %s has ended: %s, exit %d\n", name, info.Status.Outcome, info.Status.Exit)
		status = 0
		if own {
			status = info.Status.Exit
		}
	default:
		fmt.Fprintf(stderr, "zorilla: the launcher of run %s is dead\n", name)
	}
	if n := len(info.Leftovers); n > 0 {
		fmt.Fprintf(stderr, "zorilla: it may have left %d %s behind; remove them with: zorilla gc %s\n", n, plural(n, "thing"), name)
	}
	return statusOf(status)
}
