// Command zorilla-sim runs the whole distributed system in memory, in virtual
// time, under faults, and says whether everything held.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

func main() {
	if err := app(os.Stdout, os.Stderr).Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "zorilla-sim:", err)
		os.Exit(1)
	}
}

func app(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:            "zorilla-sim",
		Usage:           "run the whole system in simulation",
		Writer:          stdout,
		ErrWriter:       stderr,
		Commands:        []*cli.Command{runCommand(stdout, stderr), gossipCommand(stdout), coordinatesCommand(stdout), gangCommand(stdout, stderr), gangsCommand(stdout, stderr)},
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
	}
}
