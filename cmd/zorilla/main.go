// Command zorilla makes one computer of the machines you can log in to, for as
// long as an experiment lasts.
//
// It turns flags into a [launcher.Job], prints the events of the run, and ends
// with the exit status that the run deserves; everything else is done by
// package launcher. Under the name zorilla-pilot it is the agent that runs on
// the machines, so that the local site needs no other program.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/pilot"
)

func main() { os.Exit(Main(os.Args, os.Stdout, os.Stderr)) }

// Main runs the program and returns its exit status.
func Main(args []string, stdout, stderr *os.File) int {
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == bundle.LocalName {
		return pilot.Main(args)
	}
	if status, played := all.Role(); played {
		return status
	}
	return tell(newApp(stdout, stderr).Run(args), stderr)
}

// tell writes an error for the user and returns the status to end with.
func tell(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[exitStatus](err); ok {
		return int(s)
	}
	fmt.Fprintf(stderr, "zorilla: %v\n", err)
	if u, ok := errors.AsType[*usageError](err); ok {
		if u.help != "" {
			fmt.Fprintf(stderr, "Try: %s --help\n", u.help)
		}
		return launcher.ExitUsage
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.status
	}
	return launcher.ExitSites
}

// exitStatus is an error that was told already: the program only has to end
// with this status.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// statusOf returns the error that ends the program with a status.
func statusOf(status int) error {
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

// failure is an error that ends the program with a status other than that of a
// site's failure.
type failure struct {
	err    error
	status int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is something wrong with the command line or a file it names.
type usageError struct {
	err  error
	help string // the command whose help tells more
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage returns a usageError.
func usage(help, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), help}
}

func newApp(stdout, stderr *os.File) *cli.App {
	onUsage := func(c *cli.Context, err error, _ bool) error {
		help := "zorilla"
		if c.Command != nil && c.Command.Name != "" && c.Command.Name != "zorilla" {
			help = c.Command.HelpName
		}
		text := strings.TrimPrefix(err.Error(), "flag provided but not defined: ")
		if text != err.Error() {
			return usage(help, "unknown flag %s", "-"+text)
		}
		return usage(help, "%s", text)
	}
	commands := []*cli.Command{
		runCommand(stdout, stderr),
		planCommand(stdout),
		sitesCommand(stdout, stderr),
		psCommand(stdout, stderr),
		logsCommand(stdout, stderr),
		cancelCommand(stderr),
		attachCommand(stdout, stderr),
		gcCommand(stderr),
		receiptCommand(stdout),
		completionCommand(stdout),
		manCommand(stdout),
		versionCommand(stdout),
		completeCommand(func() *cli.App { return newApp(stdout, stderr) }, stdout),
	}
	for _, c := range commands {
		for _, c := range append(c.Subcommands, c) {
			c.OnUsageError = onUsage
			c.HideHelpCommand = true
		}
		setHelp(c, "zorilla", stdout)
	}
	return &cli.App{
		Name:                      "zorilla",
		Usage:                     "one computer of all the machines you can log in to",
		HideVersion:               true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a comma belongs to the value
		Commands:                  commands,
		OnUsageError:              onUsage,
		ExitErrHandler:            func(*cli.Context, error) {}, // Main does it
		Writer:                    stdout,
		ErrWriter:                 stderr,
		CustomAppHelpTemplate:     appHelp,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("zorilla", "unknown command %q", c.Args().First())
			}
			cli.ShowAppHelp(c)
			return exitStatus(launcher.ExitUsage)
		},
	}
}

const appHelp = `zorilla - {{.Usage}}

Usage:
   zorilla COMMAND [flags] [arguments]

Commands:{{range .VisibleCommands}}
   {{printf "%-10s" .Name}} {{.Usage}}{{end}}

Each command tells more with --help.
`

// noArguments refuses arguments of a command that takes none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usage(c.Command.HelpName, "unexpected argument %q", c.Args().First())
	}
	return nil
}

// openState opens the user's state directory.
func openState() (*launcher.State, error) {
	s, err := launcher.OpenState("")
	if err != nil {
		return nil, &failure{err, launcher.ExitUsage}
	}
	return s, nil
}

// findRun returns the run that an argument names: by its whole name, or by
// a beginning that no other run has.
func findRun(c *cli.Context, s *launcher.State, arg string) (launcher.RunInfo, error) {
	if info, err := s.Run(arg); err == nil {
		return info, nil
	}
	runs, err := s.Runs()
	if err != nil {
		return launcher.RunInfo{}, err
	}
	var found []launcher.RunInfo
	for _, r := range runs {
		if arg != "" && strings.HasPrefix(r.Begun.Run, arg) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return launcher.RunInfo{}, usage("", "no run %q; zorilla ps lists them", arg)
	}
	return launcher.RunInfo{}, usage("", "%d runs begin with %q; write more of the name", len(found), arg)
}
