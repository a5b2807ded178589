package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/launcher"
)

func gcCommand(stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:      "gc",
		Usage:     "remove what runs left behind because they could not",
		UsageText: "[flags] [RUN...]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sites", Usage: "sites `FILE` that describes queueing systems of its own", DefaultText: "as for run"},
		},
		Description: `It logs in again wherever runs without a launcher made something, ends what lives
there and removes the rest. Without RUN it does so for all runs. Runs that go on
are not touched.

Examples:
   zorilla gc
   zorilla gc ab12cd34

Exit status: 0 when nothing is left, 3 when something could not be reached.`,
		Action: func(c *cli.Context) error { return gc(c, stderr) },
	}
}

func gc(c *cli.Context, stderr *os.File) error {
	screen := newScreen(stderr, stderr, false)
	opts := launcher.GCOptions{Backends: all.Registry()}
	if path, ok := launcher.FindSites(c.String("sites")); ok {
		_, backends, err := readSites(path)
		switch {
		case err == nil:
			opts.Backends = backends
		case c.IsSet("sites"):
			return &usageError{err, ""}
		default:
			screen.Say("warning: %v", err)
		}
	}
	if c.Args().Present() {
		state, err := openState()
		if err != nil {
			return err
		}
		for _, arg := range c.Args().Slice() {
			info, err := findRun(c, state, arg)
			if err != nil {
				return err
			}
			opts.Runs = append(opts.Runs, info.Begun.Run)
		}
	}
	asker := newAsker(screen)
	opts.Ask = asker.Ask
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	report, err := launcher.GC(ctx, opts)
	asker.Close()
	left := 0
	for _, r := range report.Runs {
		screen.Say("run %s: removed %d %s, %d left", r.Run, len(r.Removed), plural(len(r.Removed), "thing"), len(r.Left))
		for _, l := range r.Left {
			left++
			screen.Say("  left at site %s: %s%s", l.Site, l.Name, because(l.Reason))
		}
	}
	switch {
	case errors.Is(err, launcher.ErrRunning):
		return usage("", "%w", err)
	case err != nil:
		return fmt.Errorf("clean up: %w", err)
	case ctx.Err() != nil:
		return exitStatus(launcher.ExitInterrupted)
	case left > 0:
		return exitStatus(launcher.ExitSites)
	case len(report.Runs) == 0:
		screen.Say("nothing is left behind")
	}
	return nil
}
