package shell

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	maxAnswer = 4 << 20 // bytes a script of ours may answer
	idsAtOnce = 1000    // identifiers of one round trip
)

// jobScript holds the shell functions for jobs. A job is a process that leads
// its own session and outlives ours; nothing of it is kept in a file.
//
//go:embed jobs.sh
var jobScript string

// idForm is PID.START.BOOT: the number of a process, when it started as the
// host tells it, and the beginning of the host's boot id. A number that is used
// again thus is another job.
var idForm = regexp.MustCompile(`^[1-9][0-9]{0,9}\.[A-Za-z0-9_:]{1,64}\.[a-z0-9-]{1,36}$`)

// Submit starts jobs on the host itself, all in one round trip. They lead
// sessions of their own. Spec.Name is not used.
func (l *Login) Submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	ids, err := l.submit(ctx, spec)
	if err != nil {
		return ids, l.Fault("submit", err)
	}
	return ids, nil
}

func (l *Login) submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	if err := spec.Validate(); err != nil {
		return nil, Problem(gat.Invalid, "", err)
	}
	if len(spec.Files) > 0 {
		return nil, Problem(gat.Invalid, "put them there first", errors.New("files do not travel with a job of the host itself"))
	}
	spec.Argv = spec.Command()
	count := max(spec.Count, 1)
	dir := spec.Dir
	if dir != "" && !path.IsAbs(dir) {
		dir = "./" + dir
	}
	call := fmt.Sprintf("submit %d %s %s %s %s %s", count, escape(spec.Stdin),
		Quote(spec.Stderr), Quote(dir), Quote(spec.Argv[0]), words(spec.Argv, spec.Env))
	out, err := l.sh(ctx, jobScript+call, nil)
	var ids []gat.JobID
	var told error
	for line := range strings.Lines(out) {
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case kind == "J" && idForm.MatchString(text):
			ids = append(ids, gat.JobID(text))
		case kind == "N":
			told = Problem(gat.NotFound, "", fmt.Errorf("%s at the host: %s", text, missing(text, spec)))
		case kind == "P", kind == "E":
			told = Problem(gat.Permanent, "", fmt.Errorf("%s: %s", spec.Argv[0], Printable(text)))
		}
	}
	switch {
	case told != nil:
		return ids, told
	case err != nil:
		return ids, err
	case len(ids) != count:
		return ids, Problem(gat.Transient, "the host may have reached the limit of processes", fmt.Errorf("%d of %d jobs started", len(ids), count))
	}
	return ids, nil
}

// missing is the part of spec that text calls missing.
func missing(text string, spec gat.JobSpec) string {
	if strings.Contains(text, "directory") {
		return spec.Dir
	}
	return spec.Argv[0]
}

// escape renders data as a word for printf %b, which is a command inside the
// shell: the data is in no argument list and no file.
func escape(data []byte) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range data {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(" {}\":,.+/=_-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\0%03o`, c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// Status reports which jobs run. The host keeps no record of ended processes, so
// a job that ended is Unknown.
func (l *Login) Status(ctx context.Context, ids ...gat.JobID) ([]gat.JobStatus, error) {
	all := make([]gat.JobStatus, len(ids))
	var at []int // those the host is asked about
	for i, id := range ids {
		all[i] = gat.JobStatus{ID: id, State: gat.Unknown, Exit: -1}
		if idForm.MatchString(string(id)) {
			at = append(at, i)
		}
	}
	for len(at) > 0 {
		part := at[:min(len(at), idsAtOnce)]
		at = at[len(part):]
		call := "status"
		for _, i := range part {
			call += " " + Quote(string(ids[i]))
		}
		out, err := l.sh(ctx, jobScript+call, nil)
		if err != nil {
			return nil, l.Fault("status", err)
		}
		lines := strings.Fields(out)
		if len(lines) != len(part) {
			return nil, l.Fault("status", Problem(gat.Transient, "", fmt.Errorf("the host answered %d lines to %d questions", len(lines), len(part))))
		}
		for j, i := range part {
			if lines[j] == "R" {
				all[i].State = gat.Running
			}
		}
	}
	return all, nil
}

// Cancel ends jobs with everything in their sessions and all descendants: they
// are asked to end, and killed two seconds later. A process that moved to another
// session and lost its parent is not found.
func (l *Login) Cancel(ctx context.Context, ids ...gat.JobID) error {
	var known []string
	for _, id := range ids {
		if idForm.MatchString(string(id)) {
			known = append(known, string(id))
		}
	}
	for len(known) > 0 {
		part := known[:min(len(known), idsAtOnce)]
		known = known[len(part):]
		if _, err := l.sh(ctx, jobScript+"cancel "+quoteAll(part), nil); err != nil {
			return l.Fault("cancel", err)
		}
	}
	return nil
}

// sh runs a script of ours with in as its standard input and returns what it prints.
// A status other than 0 is an error with the last line of its standard error.
func (l *Login) sh(ctx context.Context, body string, in io.Reader) (string, error) {
	p, err := l.start(ctx, "", body)
	if err != nil {
		return "", err
	}
	defer p.Close()
	go func() { // nothing can interrupt the reader, so nobody waits for it
		if in != nil {
			if _, err := io.Copy(p.Stdin(), in); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				p.end(err) // our side failed: the script must not take this for the end
				return
			}
		}
		p.Stdin().Close()
	}()
	var text []byte
	said := make(chan struct{})
	if !l.Spawn(func() {
		defer close(said)
		text, _ = io.ReadAll(io.LimitReader(p.Stderr(), 4096))
		io.Copy(io.Discard, p.Stderr())
	}) {
		return "", l.Gone()
	}
	out, err := io.ReadAll(io.LimitReader(p.Stdout(), maxAnswer))
	if len(out) == maxAnswer {
		return "", fmt.Errorf("the host answered more than %d bytes", maxAnswer)
	}
	status, werr := p.Wait()
	<-said
	if werr != nil {
		return string(out), unclassified(werr)
	}
	if status != 0 {
		return string(out), &exitError{status, lastLine(text)}
	}
	return string(out), err
}

// unclassified strips the operation that Wait gives to an error.
func unclassified(err error) error {
	if e, ok := errors.AsType[*gat.Error](err); ok {
		return e.Err
	}
	return err
}

// An exitError says that a script of ours failed.
type exitError struct {
	status int
	said   string
}

func (e *exitError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("the host's shell ended with status %d", e.status)
	}
	return e.said
}
