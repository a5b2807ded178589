package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

const runHelp = `APP is a jar, a program or a script; it is recognised by its content. Flags come
before APP: all that follows it belongs to the program.

Each worker finds its rank, from 0, in ZORILLA_RANK and their number in
ZORILLA_SIZE. What the workers write to their standard output goes to ours;
everything else is told on standard error. Files and a report are in the output
directory: worker-RANK/stdout, worker-RANK/stderr, worker-RANK/ with the files
that --output names, and report.json.

The sites come from --sites, else ./sites.toml, else zorilla/sites.toml in your
configuration directory. Without any the program runs on this machine. A file:

   [site.das]
   url = "ssh://me@head.example.org"
   hosts = ["node[01-16]"]            # reached through head
   memory = "16GB"                    # of each pilot

   [site.big]
   url = "slurm+ssh://me@cluster.example.org"   # or sge+ssh, pbs+ssh, prun+ssh
   pilots = 40                        # jobs in its queue
   cores = 16                         # of each

   [site.here]
   url = "local:"

"zorilla plan" tells what run would do; "zorilla sites check" what works where.

Ctrl-C stops the workers, collects their files and cleans up; a second one only
cleans up.

Examples:
   zorilla run ./simulate                          one worker, here
   zorilla run -n 4 --output 'result-*' ./simulate --steps 1000
   zorilla run --sites sites.toml -n 40 --min 10 --input data model.jar data

Exit status:
   the program's own when all failures agree, 1 when they differ, 128+n for a
   signal; 0 when all went well; 2 for a mistake on the command line or in the
   sites file; 3 when no site gave resources; 4 when a limit of yours ended it;
   130 when you did. "outcome" in report.json tells them apart: ok, app, usage,
   sites, limit, interrupted.`

func runCommand(stdout, stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:        "run",
		Usage:       "get machines, run a program on them, bring its results home, leave nothing",
		UsageText:   "[flags] APP [ARG...]",
		Description: runHelp,
		Flags: append(jobFlags(),
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "write events to standard output, one JSON object per line"},
			&cli.BoolFlag{Name: "prefix", DisableDefaultText: true, Usage: "write [RANK] before the workers' lines even if nobody watches"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, DisableDefaultText: true, Usage: "tell about problems only"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, DisableDefaultText: true, Usage: "tell about every worker and pilot, and keep the log of a site that loses one"},
		),
		Action: func(c *cli.Context) error { return run(c, stdout, stderr) },
	}
}

// jobFlags say what is to be run, and where.
func jobFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "sites", Usage: "sites `FILE`"},
		&cli.StringSliceFlag{Name: "site", Usage: "use the site `NAME` of the file only; may be repeated"},
		&cli.IntFlag{Name: "workers", Aliases: []string{"n"}, Value: 1, Usage: "start `N` workers"},
		&cli.IntFlag{Name: "min", Usage: "start as soon as `N` workers have a place", DefaultText: "all"},
		&cli.StringSliceFlag{Name: "input", Usage: "bring `SRC[:DST]`, a file or directory, to each worker; may be repeated"},
		&cli.StringSliceFlag{Name: "output", Usage: "bring files that match `GLOB` home; may be repeated"},
		&cli.StringFlag{Name: "out", Usage: "output `DIR`, new or empty", DefaultText: "./zorilla-RUN"},
		&cli.StringSliceFlag{Name: "env", Usage: "set `K=V` for the workers, or K to its value here; may be repeated"},
		&cli.StringFlag{Name: "stdin", Usage: "give `FILE` to each worker as standard input"},
		&cli.IntFlag{Name: "cores", Usage: "`CORES` for each worker", DefaultText: "those of a slot"},
		&cli.StringFlag{Name: "memory", Usage: "`SIZE` of memory for each worker, such as 4GB", DefaultText: "that of a slot"},
		&cli.IntFlag{Name: "gpus", Usage: "`N` GPUs for each worker", DefaultText: "none"},
		&cli.StringFlag{Name: "disk", Usage: "`SIZE` of scratch space for each worker"},
		&cli.StringFlag{Name: "walltime", Usage: "end the job after `TIME`, such as 1h30m"},
		&cli.StringFlag{Name: "gang-wait", Usage: "hold pilots at most `TIME` for a job that still lacks others", DefaultText: "10m"},
		&cli.StringFlag{Name: "on-failure", Value: string(launcher.Replace), Usage: "replace, ignore, or cancel: `WHAT` to do when a worker is lost with its machine"},
		&cli.IntFlag{Name: "retries", Usage: "start a program that failed by itself up to `N` times again"},
		&cli.StringFlag{Name: "runtime", Value: "auto", Usage: "auto, native or jvm: `HOW` to run APP"},
		&cli.StringSliceFlag{Name: "jvm-opt", Usage: "`OPTION` for the java command; may be repeated"},
		&cli.StringFlag{Name: "lease", Usage: "what we started elsewhere ends `TIME` after it lost us", DefaultText: "10m"},
		&cli.StringFlag{Name: "pilot", Usage: "use `FILE` as the pilot binary", DefaultText: "$ZORILLA_PILOT, else found or built"},
	}
}

func run(c *cli.Context, stdout, stderr *os.File) error {
	job, opts, err := wanted(c)
	if err != nil {
		if c.Bool("json") {
			// Scripts get the reason where they look for it.
			printEvent(stdout, launcher.Event{Time: time.Now(), Data: launcher.RunEnded{
				Outcome: launcher.OutcomeUsage, Exit: launcher.ExitUsage, Error: err.Error()}})
		}
		return err
	}
	screen := newScreen(stdout, stderr, !c.Bool("quiet"))
	asker := newAsker(screen)
	stop := interrupts(screen, asker)
	defer stop.Close()
	printer := newPrinter(screen, printerOptions{
		Workers: job.Workers,
		JSON:    c.Bool("json"),
		Prefix:  c.Bool("prefix"),
		Quiet:   c.Bool("quiet"),
		Verbose: c.Bool("verbose"),
		Gone:    stop.Gone,
	})
	opts.Ask = asker.Ask
	opts.Events = printer.Event
	screen.Start()

	result := launcher.Run(context.Background(), job, opts, stop.Stopper())

	asker.Close()
	if c.Bool("json") && !printer.ended {
		// It was refused before it began.
		end := launcher.RunEnded{Outcome: result.Outcome, Exit: result.Exit}
		if result.Err != nil {
			end.Error = result.Err.Error()
		}
		printEvent(stdout, launcher.Event{Time: time.Now(), Run: result.Run, Data: end})
	}
	printer.Close()
	screen.Close()
	if result.Err != nil {
		fmt.Fprintf(stderr, "zorilla: %v\n", result.Err)
	}
	if n := len(result.Report.Leftovers); n > 0 {
		fmt.Fprintf(stderr, "zorilla: %d things may be left behind; remove them with: zorilla gc %s\n", n, result.Run)
	}
	return statusOf(result.Exit)
}
