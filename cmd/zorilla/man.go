package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual page: what --help of all commands tells.
func manCommand(stdout *os.File) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page",
		Description: `It holds what --help of all commands tells, for man(1):

   zorilla man | man -l -
   zorilla man > ~/.local/share/man/man1/zorilla.1

Exit status: 0.`,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return writeMan(stdout, c.App)
		},
	}
}

// writeMan writes the manual page of the program, see man(7).
func writeMan(out io.Writer, app *cli.App) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH ZORILLA 1 "" "zorilla %s"`, roff(version()))
	line(".SH NAME\n%s \\- %s", app.Name, roff(app.Usage))
	line(".SH SYNOPSIS\n.B zorilla\n.I COMMAND\n[\\fIflags\\fR] [\\fIarguments\\fR]")
	line(".SH DESCRIPTION")
	manText(&b, manIntroduction)
	line(".SH COMMANDS")
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if len(c.Subcommands) == 0 {
			manOf(&b, "zorilla "+c.Name, c)
		}
		for _, s := range c.Subcommands {
			if !s.Hidden {
				manOf(&b, "zorilla "+c.Name+" "+s.Name, s)
			}
		}
	}
	line(".SH ENVIRONMENT")
	for _, e := range environment {
		line(".TP\n.B %s", roff(e[0]))
		line("%s", roff(e[1]))
	}
	line(".SH FILES")
	for _, f := range manFiles {
		line(".TP\n.I %s", roff(f[0]))
		line("%s", roff(f[1]))
	}
	line(".SH SEE ALSO\n.BR ssh (1),\n.BR ssh_config (5),\n.BR sbatch (1),\n.BR qsub (1)")
	_, err := io.WriteString(out, b.String())
	return err
}

const manIntroduction = `Zorilla makes one computer of all the machines you can log in to, for as long as
one experiment lasts. It brings a small agent, the pilot, to each machine, connects the
pilots to each other, runs a program on them, brings its results home, and leaves
nothing behind.`

// environment is what the program reads from its environment.
var environment = [...][2]string{
	{"XDG_STATE_HOME", "Below it zorilla keeps what it knows of its runs. Default: ~/.local/state."},
	{"XDG_CONFIG_HOME", "Below it zorilla/sites.toml is the sites file when there is none in the working directory. Default: ~/.config."},
	{"ZORILLA_PILOT", "The pilot binary to bring to the sites, as --pilot."},
	{"SSH_AUTH_SOCK", "The agent that holds keys."},
	{"NO_COLOR", "When set and not empty, the live view has no colours."},
	{"TERM", "When dumb or not set, there is no live view."},
}

// manFiles are the files that users meet.
var manFiles = [...][2]string{
	{"./sites.toml", "The sites, when --sites does not name another file."},
	{"./zorilla-RUN/", "What a run brings home: worker-RANK/stdout, worker-RANK/stderr, the files that --output names, and report.json."},
	{"~/.local/state/zorilla/runs/RUN/", "What is known of a run: ledger.jsonl is the record of everything that was made anywhere, written before it is made."},
}

// manOf writes what is to be said of one command.
func manOf(b *strings.Builder, name string, c *cli.Command) {
	fmt.Fprintf(b, ".SS %s\n", strings.TrimSpace(roff(name+" "+c.UsageText)))
	manText(b, strings.ToUpper(c.Usage[:1])+c.Usage[1:]+".")
	for _, f := range c.VisibleFlags() {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" {
			continue
		}
		var heads []string
		value, _ := flagWords(d)
		for _, n := range f.Names() {
			heads = append(heads, `\fB`+roff(dashed(n))+`\fR`)
		}
		head := strings.Join(heads, ", ")
		if value != "" {
			head += ` \fI` + roff(value) + `\fR`
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", head, roff(flagText(d)))
	}
	if c.Description != "" {
		b.WriteString(".PP\n")
		manText(b, c.Description)
	}
}

// manText writes paragraphs; lines that are indented stay as they are.
func manText(b *strings.Builder, text string) {
	verbatim := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch indented := strings.HasPrefix(line, "   "); {
		case line == "":
			if !verbatim {
				b.WriteString(".PP\n")
			} else {
				b.WriteString(".sp\n")
			}
			continue
		case indented && !verbatim:
			b.WriteString(".RS 4\n.nf\n")
			verbatim = true
		case !indented && verbatim:
			b.WriteString(".fi\n.RE\n.PP\n")
			verbatim = false
		}
		b.WriteString(roff(strings.TrimPrefix(line, "   ")) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n.RE\n")
	}
}

// roff writes text so that roff takes it for text.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
