package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

// traceFlag is the flag that [openTrace] looks at.
func traceFlag() cli.Flag {
	return &cli.StringFlag{Name: "trace", Usage: "write every message to `FILE`, as lines of JSON with time, from, to, kind and bytes"}
}

// trace writes the messages of a simulation to a file. The nil trace writes none.
type trace struct {
	file *os.File
	buf  *bufio.Writer
	enc  *json.Encoder
	err  error
}

// openTrace makes the file that the flag names; without the flag it returns nil.
func openTrace(c *cli.Context) (*trace, error) {
	if c.String("trace") == "" {
		return nil, nil
	}
	f, err := os.Create(c.String("trace"))
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	t := &trace{file: f, buf: bufio.NewWriterSize(f, 1<<20)}
	t.enc = json.NewEncoder(t.buf)
	return t, nil
}

// message returns what takes the messages of a simulation.
func (t *trace) message() func(sim.Message) {
	if t == nil {
		return nil
	}
	return func(m sim.Message) {
		if t.err == nil {
			t.err = t.enc.Encode(m)
		}
	}
}

// close writes what is left, and reports whether everything was written.
func (t *trace) close() error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.err, t.buf.Flush(), t.file.Close()); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// abandon closes the file of a run that has failed; after close it does nothing.
func (t *trace) abandon() {
	if t != nil {
		t.file.Close()
	}
}
