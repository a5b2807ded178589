package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

const planHelp = `It takes the flags of run and tells what run would do: how many workers fit where,
what is put on which host and when it goes, which ports are opened for whom, and,
where a queueing system is asked, the commands and the script, and what it can
cost at most. Our own scripts are named with the SHA-256 by which a receipt names them;
--scripts prints them. It only reads files of this machine: it logs in nowhere.

Examples:
   zorilla plan --sites sites.toml -n 40 model.jar
   zorilla plan --json --site das -n 4 ./simulate | jq .

SESSION stands for the name of the run, UID for your number there.

Exit status: 0; 2 for a mistake on the command line or in the sites file; 3 when the
sites have no room for the job.`

func planCommand(stdout *os.File) *cli.Command {
	return &cli.Command{
		Name:        "plan",
		Usage:       "tell what run would do, and where, without doing any of it",
		UsageText:   "[flags] APP [ARG...]",
		Description: planHelp,
		Flags: append(jobFlags(),
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "print it as one line of JSON"},
			&cli.BoolFlag{Name: "scripts", DisableDefaultText: true, Usage: "print the scripts that are run at hosts, too"},
		),
		Action: func(c *cli.Context) error { return plan(c, stdout) },
	}
}

func plan(c *cli.Context, stdout *os.File) error {
	job, opts, err := wanted(c)
	if err != nil {
		return err
	}
	p, err := launcher.PlanRun(c.Context, job, opts)
	if err != nil {
		return &usageError{err, ""}
	}
	if c.Bool("json") {
		line, err := json.Marshal(struct {
			V int `json:"v"`
			*launcher.Plan
		}{1, p})
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", line)
	} else {
		printPlan(stdout, p)
		printScripts(stdout, p.Scripts, c.Bool("scripts"))
	}
	if err := p.Capacity.Err(); err != nil {
		return err
	}
	return nil
}

// printPlan writes a plan for people: what happens in sentences, then the
// scripts.
func printPlan(out io.Writer, p *launcher.Plan) {
	fmt.Fprintf(out, "%s: %s, %d %s", p.App, p.Kind, p.Workers, plural(p.Workers, "worker"))
	if p.Min < p.Workers {
		fmt.Fprintf(out, ", from %d on", p.Min)
	}
	fmt.Fprintf(out, "; %s of files for each host that runs some\n\n%s\n", launcher.FormatSize(p.Inputs), p.Capacity.Table())
	for _, s := range p.Sites {
		fmt.Fprintf(out, "\n%s\n", s.Site)
		for _, step := range s.Steps {
			fmt.Fprintf(out, "  %s\n", step)
		}
		switch local := strings.HasPrefix(s.URLs[0], "local:"); {
		case s.Hub != nil:
			fmt.Fprintf(out, "  hub: %v\n", s.Hub)
		case !local:
			fmt.Fprintln(out, "  hub: none")
		}
		if s.Policy != "" {
			fmt.Fprintf(out, "  policy: %s\n", s.Policy)
		}
		for _, port := range s.Ports {
			fmt.Fprintf(out, "  port: %s\n", port)
		}
		if q := s.Queue; q != nil && q.Script != "" {
			for _, c := range []struct {
				what string
				argv []string
			}{{"submit", q.Submit}, {"status", q.Status}, {"cancel", q.Cancel}} {
				fmt.Fprintf(out, "  %s: %s\n", c.what, strings.ReplaceAll(strings.TrimSpace(shellWords(c.argv)), "\n", "\n    "))
			}
		}
	}
	for _, s := range p.Sites {
		if q := s.Queue; q != nil && q.Script != "" {
			fmt.Fprintf(out, "\nscript for %s\n", s.Site)
			for line := range strings.Lines(q.Script) {
				fmt.Fprintf(out, "  | %s", line)
			}
			if !strings.HasSuffix(q.Script, "\n") {
				fmt.Fprintln(out)
			}
		}
	}
}

// printScripts lists our scripts, and writes them whole if that is wanted.
func printScripts(out io.Writer, scripts []launcher.ScriptPlan, whole bool) {
	if len(scripts) == 0 {
		return
	}
	hint := "; --scripts shows them"
	if whole {
		hint = ""
	}
	fmt.Fprintf(out, "\nscripts that are run at hosts by /bin/sh%s\n", hint)
	for _, s := range scripts {
		fmt.Fprintf(out, "  %s: %s (%d bytes, sha256 %s; %s)\n", s.Name, s.What, s.Bytes, s.Digest, strings.Join(s.Sites, ", "))
	}
	for _, s := range scripts {
		if !whole {
			return
		}
		fmt.Fprintf(out, "\n%s\n", s.Name)
		for line := range strings.Lines(s.Text) {
			fmt.Fprintf(out, "  | %s", line)
		}
	}
}
