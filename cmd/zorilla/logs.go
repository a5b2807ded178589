package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/staging"
)

func logsCommand(stdout, stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what the workers of a run wrote so far",
		UsageText: "[flags] RUN [RANK]",
		Description: `Standard output goes to standard output and standard error to standard error, one
worker after the other. It is read from the run's output directory. To see what
workers write as they write it: zorilla attach RUN.

Examples:
   zorilla logs ab12cd34
   zorilla logs ab12cd34 7 2>/dev/null

Exit status: 0; 2 when there is no such run, or no such worker.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "prefix", DisableDefaultText: true, Usage: "write [RANK] before the lines even if nobody watches"},
		},
		Action: func(c *cli.Context) error {
			if n := c.NArg(); n < 1 || n > 2 {
				return usage(c.Command.HelpName, "want RUN and at most one RANK")
			}
			state, err := openState()
			if err != nil {
				return err
			}
			info, err := findRun(c, state, c.Args().First())
			if err != nil {
				return err
			}
			ranks, err := ranksOf(info, c.Args().Get(1))
			if err != nil {
				return err
			}
			s := newScreen(stdout, stderr, false)
			for _, rank := range ranks {
				for _, out := range []struct {
					name string
					w    io.Writer
					tty  bool
				}{{"stdout", s.Stdout(), s.outTTY}, {"stderr", s.Stderr(), s.errTTY}} {
					opts := staging.LinesOptions{Terminate: len(ranks) > 1}
					if c.Bool("prefix") || len(ranks) > 1 && out.tty {
						opts.Prefix = fmt.Sprintf("[%d] ", rank)
					}
					if err := show(filepath.Join(info.Begun.Out, launcher.WorkerName(rank), out.name), staging.NewLines(out.w, opts)); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}

// ranksOf returns the ranks whose output is asked for and there, in order.
func ranksOf(info launcher.RunInfo, arg string) ([]int, error) {
	list, err := os.ReadDir(info.Begun.Out)
	if err != nil {
		return nil, fmt.Errorf("the output of run %s is not there any more: %w", info.Begun.Run, err)
	}
	var ranks []int
	for _, d := range list {
		digits, ok := strings.CutPrefix(d.Name(), "worker-")
		if rank, err := strconv.Atoi(digits); ok && err == nil && d.IsDir() && launcher.WorkerName(rank) == d.Name() {
			ranks = append(ranks, rank)
		}
	}
	slices.Sort(ranks)
	if arg == "" {
		return ranks, nil
	}
	rank, err := strconv.Atoi(arg)
	if err != nil || rank < 0 {
		return nil, usage("zorilla logs", "%q is not a rank; want a number from 0", arg)
	}
	if !slices.Contains(ranks, rank) {
		return nil, usage("", "run %s has no output of worker %d", info.Begun.Run, rank)
	}
	return []int{rank}, nil
}

// show copies a file of output; a missing one is empty.
func show(path string, l *staging.Lines) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(l, f); err != nil {
		return err
	}
	return l.Close()
}
