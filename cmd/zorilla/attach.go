package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

func attachCommand(stdout, stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "follow a run until it ends, and log in again to sites it lost",
		UsageText: "[flags] RUN",
		Description: `It shows what has happened and what happens, with what the workers write from now
on, and ends with the run's exit status. Sites whose login broke are logged in
to again; questions, such as for a code, are asked here. Ctrl-C ends only
the following: the run goes on.

Examples:
   zorilla attach ab12cd34
   zorilla attach --json ab12cd34 | jq .

Exit status: that of the run; 2 when there is no such run, 3 when its launcher is
dead, 130 for Ctrl-C.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "write events to standard output, one JSON object per line"},
			&cli.BoolFlag{Name: "prefix", DisableDefaultText: true, Usage: "write [RANK] before the workers' lines even if nobody watches"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, DisableDefaultText: true, Usage: "tell about problems only"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, DisableDefaultText: true, Usage: "tell about every worker and pilot"},
		},
		Action: func(c *cli.Context) error { return attach(c, stdout, stderr) },
	}
}

func attach(c *cli.Context, stdout, stderr *os.File) error {
	info, control, err := controlOf(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	st, err := control.Status(ctx)
	if errors.Is(err, launcher.ErrNotRunning) {
		return tellEnded(stderr, info, true)
	}
	if err != nil {
		return err
	}

	screen := newScreen(stdout, stderr, !c.Bool("quiet"))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	printer := newPrinter(screen, printerOptions{
		Workers: st.Workers,
		JSON:    c.Bool("json"),
		Prefix:  c.Bool("prefix"),
		Quiet:   c.Bool("quiet"),
		Verbose: c.Bool("verbose"),
		Gone:    cancel,
	})
	asker := newAsker(screen)
	screen.Start()
	redialled := make(chan struct{})
	go func() {
		defer close(redialled)
		lost := st.Detached()
		if len(lost) == 0 {
			return
		}
		if !c.Bool("quiet") {
			screen.Say("logging in again to %s", strings.Join(lost, ", "))
		}
		if err := control.Redial(ctx, asker.Ask); err != nil && ctx.Err() == nil {
			screen.Say("%v", err)
			screen.Say("the run goes on; \"zorilla attach %s\" tries again", info.Begun.Run)
		}
	}()
	var end *launcher.RunEnded
	err = control.Events(ctx, true, func(e launcher.Event) {
		if d, ok := e.Data.(launcher.RunEnded); ok {
			end = &d
		}
		printer.Event(e)
	}, func(pieces int64) {
		screen.Say("%d pieces of output were not shown: too slow; they are in %s", pieces, shortPath(info.Begun.Out))
	})
	interrupted := ctx.Err() != nil
	cancel()
	asker.Close()
	<-redialled
	printer.Close()
	screen.Close()
	switch {
	case end != nil:
		return statusOf(end.Exit)
	case interrupted:
		screen.Say("run %s goes on", info.Begun.Run)
		return exitStatus(launcher.ExitInterrupted)
	case errors.Is(err, launcher.ErrNotRunning):
		// It died, or ended just now.
		if state, serr := openState(); serr == nil {
			if now, rerr := state.Run(info.Begun.Run); rerr == nil {
				info = now
			}
		}
		return tellEnded(stderr, info, true)
	}
	return err
}
