package batch

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// A Fault tells one kind of error of a system's commands.
type Fault struct {
	Match *regexp.Regexp
	Class gat.Class
	About Subject // what of the job it is about
	Hint  string  // what the user can try, where About does not say it
}

// Subject is what of a job is refused.
type Subject int

// The subjects of a refusal.
const (
	Nothing Subject = iota
	Queue
	Account
	Constraint
	Walltime
	Nodes
	Cores
	Memory
	GPUs
	NativeFlags
	Size // more than any node has, whatever it is of
)

// refusal is what is wrong with a job. Its text begins the same whether we, the
// submit command or the queue found out.
func refusal(about Subject, spec gat.JobSpec, limit string) error {
	r := spec.Resources
	if about == Size {
		switch {
		case r.GPUs > 0:
			about = GPUs
		case r.Nodes > 1:
			about = Nodes
		case r.Memory > 0 && r.Cores == 0:
			about = Memory
		default:
			about = Cores
		}
	}
	var what, key string
	switch about {
	case Queue:
		what, key = fmt.Sprintf("the queue %q is not there or does not take the job", r.Queue), "queue"
		if r.Queue == "" {
			what = "there is no queue for the job"
		}
	case Account:
		what, key = fmt.Sprintf("the account %q is not one this user can charge", r.Account), "account"
		if r.Account == "" {
			what = "jobs need an account here"
		}
	case Constraint:
		what, key = fmt.Sprintf("no node fulfils the constraint %q", r.Constraint), "constraint"
	case Walltime:
		what, key = fmt.Sprintf("the wall time %s is over the queue's limit", Span(r.Walltime)), "walltime"
		if r.Walltime == 0 {
			what = "the queue needs a wall time, or its default is over its limit"
		}
	case Nodes:
		what, key = fmt.Sprintf("there are no %d nodes for one job", max(r.Nodes, 1)), "pilots"
	case Cores:
		what, key = fmt.Sprintf("no node gives %d cores", max(r.Cores, 1)), "cores"
	case Memory:
		what, key = fmt.Sprintf("no node gives %d MiB of memory", r.Memory>>20), "memory"
	case GPUs:
		what, key = fmt.Sprintf("no node gives %d GPUs", r.GPUs), "gpus"
	case NativeFlags:
		what, key = "a flag or resource is not known to the scheduler", "native"
	}
	if limit != "" {
		what += " (" + limit + ")"
	}
	return &gat.Error{Class: gat.Invalid, Op: "submit", Err: errors.New(what), Hint: "see the key " + key + " of the site in the sites file"}
}

// fault makes an error of a command that failed.
func (d *Dialect) fault(op string, spec gat.JobSpec, out, complaint string, status int) error {
	said := d.said(complaint)
	if said == "" {
		said = d.said(out)
	}
	if status == 127 && strings.Contains(complaint, "not found") {
		return &gat.Error{Class: gat.Permanent, Op: op, Err: errors.New(said),
			Hint: fmt.Sprintf("%s is not there, or not in the PATH of a login without a terminal: is this a host from which %s jobs are submitted?", d.Tool, d.Title)}
	}
	text := complaint + "\n" + out
	for _, f := range append(d.Faults, anySystem...) {
		if !f.Match.MatchString(text) {
			continue
		}
		if f.About != Nothing && op == "submit" {
			return refusal(f.About, spec, d.Title+" says: "+said)
		}
		return &gat.Error{Class: f.Class, Op: op, Err: fmt.Errorf("%s says: %s", d.Title, said), Hint: f.Hint}
	}
	if said == "" {
		said = fmt.Sprintf("nothing, with status %d", status)
	}
	class := gat.Permanent
	if op == "status" { // a listing that fails is no answer, whatever the reason
		class = gat.Transient
	}
	return &gat.Error{Class: class, Op: op, Err: fmt.Errorf("%s says: %s", d.Title, said)}
}

// anySystem is what any system's commands may say.
var anySystem = []Fault{
	{Match: regexp.MustCompile(`(?i)timed out|time-?out|temporarily unavailable|try again|connection (refused|reset|closed)|cannot connect|can't connect|unable to (connect|contact)|could not connect|communication (failure|error)|no route to host|server (is )?(down|not running|busy)`), Class: gat.Transient, Hint: "the scheduler does not answer at the moment"},
	{Match: regexp.MustCompile(`(?i)permission denied|not authori[sz]ed|access denied|not allowed|unauthori[sz]ed`), Class: gat.Denied},
}

// maxSaid bounds the words of a scheduler in an error, in bytes.
const maxSaid = 400

// said makes one line of what a command printed, without its own name and terminal
// codes.
func (d *Dialect) said(text string) string {
	var lines []string
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(clean(line))
		for _, p := range []string{d.Tool + ": ", "error: ", "Exiting."} {
			line = strings.TrimPrefix(line, p)
		}
		if line == "" || len(lines) > 0 && lines[len(lines)-1] == line {
			continue
		}
		if n += len(line); n > maxSaid {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// clean drops what is not to be printed.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFFFD' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
