package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

// A candidate is a word that may stand where the user is typing.
type candidate struct {
	word, tells string
}

// candidates are what may stand at one place of a command line.
type candidates struct {
	list  []candidate
	files bool // the name of a file as well
}

// filesLine ends the answer to a shell when it is to offer the names of files.
const filesLine = ":files"

// completeCommand answers the completion scripts: its arguments are the words
// of a command line after the program's name, the last of them as far as it is
// typed. It prints candidates, one a line, with a tab before what each means.
func completeCommand(app func() *cli.App, stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			found := complete(app().Commands, c.Args().Slice())
			for _, x := range found.list {
				fmt.Fprintf(stdout, "%s\t%s\n", x.word, x.tells)
			}
			if found.files {
				fmt.Fprintln(stdout, filesLine)
			}
			return nil
		},
	}
}

// complete returns what may stand in the place of the last word.
func complete(commands []*cli.Command, words []string) candidates {
	if len(words) == 0 {
		words = []string{""}
	}
	typed := words[len(words)-1]
	var at *cli.Command
	arguments, values := 0, make(map[string]string)
	var wants cli.Flag // the flag whose value comes next
	for _, w := range words[:len(words)-1] {
		switch {
		case wants != nil:
			values[wants.Names()[0]] = w
			wants = nil
		case at != nil && arguments == 0 && strings.HasPrefix(w, "-") && w != "-":
			name, value, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
			switch f := flagOf(at, name); {
			case f == nil || !takesValue(f):
			case has:
				values[f.Names()[0]] = value
			default:
				wants = f
			}
		default:
			if next := commandOf(commands, w); next != nil && arguments == 0 {
				at, commands = next, next.Subcommands
			} else {
				arguments++
			}
		}
	}
	switch {
	case wants != nil:
		return valuesOf(wants, values).begin(typed)
	case at != nil && arguments == 0 && strings.HasPrefix(typed, "-"):
		return flagsOf(at).begin(typed)
	case arguments == 0 && (at == nil || len(commands) > 0):
		return names(commands).begin(typed)
	}
	return argumentsOf(at, arguments).begin(typed)
}

// begin keeps those that begin with what is typed.
func (c candidates) begin(typed string) candidates {
	kept := candidates{files: c.files}
	for _, x := range c.list {
		if strings.HasPrefix(x.word, typed) {
			kept.list = append(kept.list, x)
		}
	}
	return kept
}

func (c *candidates) add(tells string, words ...string) {
	for _, w := range words {
		c.list = append(c.list, candidate{w, tells})
	}
}

func commandOf(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.Name == name && !c.Hidden {
			return c
		}
	}
	return nil
}

func names(commands []*cli.Command) (found candidates) {
	for _, c := range commands {
		if !c.Hidden {
			found.add(c.Usage, c.Name)
		}
	}
	return found
}

func flagOf(c *cli.Command, name string) cli.Flag {
	for _, f := range c.Flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

func flagsOf(c *cli.Command) (found candidates) {
	for _, f := range c.Flags {
		found.add(flagTells(f), "--"+f.Names()[0])
	}
	found.add("explain the command", "--help")
	return found
}

// flagTells returns what a flag is for.
func flagTells(f cli.Flag) string {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	return strings.ReplaceAll(d.GetUsage(), "`", "")
}

// valuesOf returns what a flag may be given, beside the flags that were given.
func valuesOf(f cli.Flag, given map[string]string) (found candidates) {
	switch f.Names()[0] {
	case "sites", "input", "out", "stdin", "pilot":
		found.files = true
	case "site":
		list, _, err := sites(given["sites"], nil)
		if err != nil {
			return found // running the command tells what is wrong
		}
		for _, s := range list {
			found.add(s.URLs[0].Redacted(), s.Name)
		}
	case "on-failure":
		found.add("", string(launcher.Replace), string(launcher.Ignore), string(launcher.Cancel))
	case "runtime":
		found.add("", "auto", "native", "jvm")
	}
	return found
}

// argumentsOf returns what a command takes as its argument of that number.
func argumentsOf(c *cli.Command, number int) (found candidates) {
	switch c.Name {
	case "run", "plan":
		found.files = true
	case "ps", "logs", "cancel", "attach", "gc", "receipt":
		if number > 0 && c.Name != "gc" {
			return found
		}
		state, err := launcher.OpenState("")
		if err != nil {
			return found
		}
		runs, err := state.Runs()
		if err != nil {
			return found
		}
		for _, r := range runs {
			found.add(stateOf(r)+": "+cutTo(shellWords(r.Begun.Command), 60), r.Begun.Run)
		}
	case "completion":
		if number == 0 {
			found.add("", shells()...)
		}
	}
	return found
}

// completionCommand prints what teaches a shell to complete our command lines.
func completionCommand(stdout *os.File) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what teaches bash, zsh or fish to complete zorilla's command lines",
		UsageText: "SHELL",
		Description: `SHELL is bash, zsh or fish. For one session:

   source <(zorilla completion bash)
   source <(zorilla completion zsh)
   zorilla completion fish | source

For all of them put that line into ~/.bashrc or, below compinit, ~/.zshrc; for fish

   zorilla completion fish > ~/.config/fish/completions/zorilla.fish

It completes commands, flags, names of sites and runs, and files.

Exit status: 0; 2 when there is no completion for SHELL.`,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage(c.Command.HelpName, "want one SHELL: %s", strings.Join(shells(), ", "))
			}
			text, err := completionScripts.ReadFile("completion/zorilla." + c.Args().First())
			if err != nil {
				return usage(c.Command.HelpName, "no completion for %q; there is one for %s", c.Args().First(), strings.Join(shells(), ", "))
			}
			_, err = stdout.Write(text)
			return err
		},
	}
}
