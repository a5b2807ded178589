package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

const receiptHelp = `It tells what a run did at its sites: logins and by what right, every command,
queue jobs with their identifiers, processes, files made and removed, ports that
listened, bytes there and back, core-seconds used and held idle, and what the final
check found. It is a document that can be handed to whoever answers for a machine.
It holds no secrets: of what was written to commands, only the size.

It reads the state of the run on this machine and logs in nowhere. A run that goes
on, or that was killed, has a receipt too, which says so. RUN may be shortened. The
same text is receipt.txt, and receipt.json, in the output directory of a run, as of
its end.

Exit status: 0; 1 when something may be left at a site; 2 when there is no such run.

Examples:
   zorilla receipt k7d2
   zorilla receipt k7d2 | mail -s "what I ran on fs0" admin@example.org`

func receiptCommand(stdout *os.File) *cli.Command {
	return &cli.Command{
		Name:        "receipt",
		Usage:       "tell what a run did at its sites, for their administrators",
		UsageText:   "[--json] RUN",
		Description: receiptHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "print it as one line of JSON"},
		},
		Action: func(c *cli.Context) error { return receipt(c, stdout) },
	}
}

// exitLeft is the status when something may be left behind.
const exitLeft = 1

func receipt(c *cli.Context, stdout *os.File) error {
	if c.Args().Len() != 1 {
		return usage(c.Command.HelpName, "name one run; zorilla ps lists them")
	}
	state, err := openState()
	if err != nil {
		return err
	}
	info, err := findRun(c, state, c.Args().First())
	if err != nil {
		return err
	}
	r, err := state.Receipt(info.Begun.Run)
	if err != nil {
		return &usageError{err, ""}
	}
	if c.Bool("json") {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", line)
	} else if _, err := fmt.Fprint(stdout, r.Text()); err != nil {
		return err
	}
	for _, s := range r.Sites {
		if s.Check == "left" || s.Check == "unknown" {
			return exitStatus(exitLeft)
		}
	}
	return nil
}
