// Command zorilla-pilot is the agent that the launcher starts on every
// resource. It is not meant to be started by hand.
package main

import (
	"os"

	"github.com/zorilla-grid/zorilla/pilot"
)

func main() { os.Exit(pilot.Main(os.Args)) }
