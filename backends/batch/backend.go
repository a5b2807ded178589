package batch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// PollEvery is how often a queueing system is asked for a user's jobs at most,
// unless [gat.Target] says otherwise.
const PollEvery = 60 * time.Second

// New returns the backend that speaks a dialect over a shell: a backend whose
// logins are [gat.Runner]s. It serves the shell's schemes with the dialect's name
// and a plus sign before them; URLs are the shell's but for that.
func New(d *Dialect, shell gat.Backend) gat.Backend { return backend{d, shell, new(squeezer)} }

type backend struct {
	d     *Dialect
	shell gat.Backend
	files *squeezer
}

func (b backend) Schemes() []string {
	var all []string
	for _, s := range b.shell.Schemes() {
		all = append(all, b.d.Name+"+"+s)
	}
	return all
}

// below returns a URL as the shell has it.
func (b backend) below(u *url.URL) *url.URL {
	v := *u
	v.Scheme = strings.TrimPrefix(u.Scheme, b.d.Name+"+")
	return &v
}

func (b backend) Check(u *url.URL) error { return b.shell.Check(b.below(u)) }

// Open logs in to the shell. The system itself is first asked when something is
// wanted of it, so that the host can be used while its scheduler is down.
func (b backend) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	shown := *t.URL
	if shown.User != nil {
		shown.User = url.User(shown.User.Username())
	}
	below := t
	below.URL = b.below(t.URL)
	head, err := b.shell.Open(ctx, below)
	if err != nil {
		return nil, err
	}
	if _, ok := head.(gat.Runner); !ok {
		head.Close()
		return nil, &gat.Error{Class: gat.Permanent, Op: "log in", Err: fmt.Errorf("%s is spoken through commands, and %w: to run them", b.d.Title, gat.ErrCannot)}
	}
	l := &login{Login: head, d: b.d, key: shown.String(), polls: t.Polls, every: PollEvery, observe: t.Observe, files: b.files}
	if t.PollEvery > 0 {
		// Whoever asks every so often gets a new answer each time.
		l.every, l.paced = t.PollEvery*4/5, t.PollEvery
	}
	if l.polls == nil {
		l.polls = &memory{}
	}
	return l, nil
}

// Render shows what Submit would run.
func (b backend) Render(u *url.URL, spec gat.JobSpec) (gat.Rendering, error) {
	var r gat.Rendering
	if err := b.Check(u); err != nil {
		return r, err
	}
	if err := b.d.valid(spec); err != nil {
		return r, err
	}
	n := max(spec.Count, 1)
	if b.d.MaxTasks == 0 || spec.Resources.Shape != gat.Array {
		n = 1
	}
	j := b.d.job(spec, min(n, max(b.d.MaxTasks, 1)), nil)
	var err error
	if r.Submit, err = b.d.Submit(j); err != nil {
		return r, invalid("submit", err)
	}
	r.Script = b.d.script(j, shorten)
	r.Status = shellWords(b.d.Status(nil))
	r.Cancel = b.d.Cancel([]gat.JobID{"ID"})
	return r, nil
}

// shellWords is sh as a command line.
func shellWords(text string) []string { return []string{"/bin/sh", "-c", strings.TrimSpace(text)} }

func invalid(op string, err error) error {
	if e, ok := errors.AsType[*gat.Error](err); ok {
		return e
	}
	return &gat.Error{Class: gat.Invalid, Op: op, Err: err}
}

// valid reports what is wrong with a job by itself.
func (d *Dialect) valid(spec gat.JobSpec) error {
	if err := spec.Validate(); err != nil {
		return invalid("submit", err)
	}
	if spec.Resources.Shape == gat.Multi && d.Spread == nil && !d.Everywhere {
		return &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("%s jobs of several nodes cannot be asked for", d.Title), Hint: `write shape = "array" in the sites file`}
	}
	if _, err := Native(spec.Resources.Native); err != nil {
		return &gat.Error{Class: gat.Invalid, Op: "submit", Err: err, Hint: "see the key native of the site in the sites file"}
	}
	if d.Refuse != nil {
		if err := d.Refuse(spec); err != nil {
			return invalid("submit", err)
		}
	}
	return nil
}

// job is one submission of n jobs.
func (d *Dialect) job(spec gat.JobSpec, n int, facts *Facts) *Job {
	name := spec.Name
	if name == "" {
		name = "job"
	}
	if d.JobName != nil {
		name = d.JobName(name)
	}
	if spec.Resources.Nodes == 0 {
		spec.Resources.Nodes = 1
	}
	return &Job{Spec: spec, Name: name, Count: n, Facts: facts}
}

var (
	_ gat.Backend  = backend{}
	_ gat.Renderer = backend{}
)
