package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// How says by what right the shell's login was made.
func (l *login) How() string {
	if d, ok := l.Login.(gat.Described); ok {
		return d.How()
	}
	return ""
}

// observed runs sh and tells of it. What the text is wrapped in is not told, so that
// equal commands read equally.
func (l *login) observed(text, in string, args []string, run func() (answer, error)) (answer, error) {
	began := time.Now()
	a, err := run()
	if l.observe == nil {
		return a, err
	}
	c := gat.Command{Argv: args}
	if text = strings.TrimPrefix(text, plain); text != one {
		c.Argv = append([]string{"sh", "-c", strings.TrimSpace(text), "sh"}, args...)
	}
	op := gat.Operation{Op: "command", Detail: c.Text(), Up: int64(len(in)), Down: int64(len(a.out) + len(a.complaint)), At: began, Took: time.Since(began), Err: err}
	if err == nil && a.status != 0 {
		op.Err = fmt.Errorf("exit status %d", a.status)
	}
	l.observe(op)
	return a, err
}
