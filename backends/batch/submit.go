package batch

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// one is sh that runs a submit command with the script as its input.
const one = `exec "$@"`

// several is sh that does so again and again, up to the first failure.
const several = `gat_n=$1; shift
gat_script=$(cat)
while [ "$gat_n" -gt 0 ]; do
	gat_n=$((gat_n - 1))
	printf '%s\n' "$gat_script" | "$@" || exit
done`

// Submit submits jobs: an array in one submission, up to what an array holds.
func (l *login) Submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	d := l.d
	if err := d.valid(spec); err != nil {
		return nil, err
	}
	facts, err := l.permitting(ctx, spec)
	if err != nil {
		return nil, err
	}
	var all []gat.JobID
	for left := max(spec.Count, 1); left > 0; {
		tasks, times := 1, left
		if most := d.maxTasks(facts); spec.Resources.Shape == gat.Array && most > 0 {
			tasks, times = min(left, most), 1
		}
		ids, err := l.submit(ctx, d.job(spec, tasks, facts), times)
		l.submitted(ids)
		all = append(all, ids...)
		if err != nil {
			return all, err
		}
		left -= len(ids)
	}
	return all, nil
}

// permitting returns what is known of the site, which does not speak against the job.
func (l *login) permitting(ctx context.Context, spec gat.JobSpec) (*Facts, error) {
	facts, err := l.known(ctx)
	switch class := gat.ClassOf(err); {
	case err != nil && (class == gat.Transient || class == gat.Invalid || ctx.Err() != nil):
		return nil, err
	case err != nil:
		return &Facts{}, nil // a site may keep its description to itself and take jobs
	}
	return facts, facts.allow(spec)
}

// script renders a job's script, its files packed as small as they have to be.
func (l *login) script(j *Job) (string, error) {
	d := l.d
	most := d.MaxScript
	if j.Facts != nil && j.Facts.MaxScript > 0 {
		most = j.Facts.MaxScript
	}
	script := d.script(j, func(data []byte) parcel { return wide(l.files.squeeze(data)) })
	if most == 0 || len(script) <= most {
		return script, nil
	}
	script = d.script(j, func(data []byte) parcel { return dense(l.files.squeeze(data)) })
	if len(script) > most {
		return "", &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("the job's script with its files has %d bytes, %s takes %d", len(script), d.Title, most),
			Hint: "name a directory that this host and the nodes share: the key shared of the site in the sites file"}
	}
	return script, nil
}

// maxTasks is how many jobs an array holds.
func (d *Dialect) maxTasks(f *Facts) int {
	if f != nil && f.MaxTasks > 0 {
		return min(d.MaxTasks, f.MaxTasks)
	}
	return d.MaxTasks
}

// submit makes one submission several times over, in one remote command.
func (l *login) submit(ctx context.Context, j *Job, times int) ([]gat.JobID, error) {
	d := l.d
	argv, err := d.Submit(j)
	if err != nil {
		return nil, invalid("submit", err)
	}
	script, err := l.script(j)
	if err != nil {
		return nil, err
	}
	text, args := one, argv
	if times > 1 {
		text, args = several, append([]string{fmt.Sprint(times)}, argv...)
	}
	a, err := l.sh(ctx, text, script, args...)
	ids := d.IDs(a.out, j)
	if n := times * j.Count; len(ids) > n {
		ids = ids[len(ids)-n:] // what a wrapper printed before
	}
	switch {
	case err != nil:
		if _, ok := errors.AsType[notRun](err); !ok {
			err = unsure(err)
		}
		return ids, err
	case a.status != 0:
		err := d.fault("submit", j.Spec, a.out, a.complaint, a.status)
		if d.unsure(a) {
			err = unsure(err)
		}
		return ids, err
	case len(ids) == 0:
		return nil, unsure(fmt.Errorf("%s gave no job identifier: %q", d.Tool, d.said(a.out+"\n"+a.complaint)))
	case len(ids) < times*j.Count:
		return ids, unsure(fmt.Errorf("%s gave %d identifiers for %d jobs", d.Tool, len(ids), times*j.Count))
	}
	return ids, nil
}

// unsure is the error of a submission that may have succeeded.
func unsure(err error) error {
	switch gat.ClassOf(err) {
	case gat.Invalid, gat.Denied, gat.NotFound:
		return err // it was refused
	}
	if e, ok := errors.AsType[*gat.Error](err); ok {
		u := *e
		u.Class, u.Err = gat.Transient, fmt.Errorf("%w: %w", gat.ErrUnsure, e.Err)
		return &u
	}
	return &gat.Error{Class: gat.Transient, Op: "submit", Err: fmt.Errorf("%w: %w", gat.ErrUnsure, err)}
}

// late matches what commands say that have waited too long for an answer.
var late = regexp.MustCompile(`(?i)timed out|time-?out|connection (was )?(reset|closed)|broken pipe`)

// refused matches what commands say that reached nobody.
var refused = regexp.MustCompile(`(?i)connection refused|connect failure|no route to host|unable to (contact|resolve)`)

// unsure reports whether jobs may have been submitted by a command that failed: it
// waited too long, or was killed.
func (d *Dialect) unsure(a answer) bool {
	text := a.complaint + "\n" + a.out
	if refused.MatchString(text) {
		return false
	}
	return a.status > 128 || late.MatchString(text) || d.Unsure != nil && d.Unsure.MatchString(text)
}

func (l *login) submitted(ids []gat.JobID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.submittedAt = time.Now()
		l.memo(id).submitted = l.submittedAt
	}
}

// allow refuses what the site is known not to have. Some schedulers would refuse it,
// others let it wait for ever; either way it is said in the same words.
func (f *Facts) allow(spec gat.JobSpec) error {
	r := spec.Resources
	if f == nil || len(f.Info.Queues) == 0 {
		return nil
	}
	if r.Queue != "" && !strings.ContainsAny(r.Queue, ",@*") {
		if _, ok := f.Queue(r.Queue); !ok {
			var names []string
			for _, q := range f.Info.Queues {
				names = append(names, q.Name)
			}
			return refusal(Queue, spec, "there are "+strings.Join(names, ", "))
		}
	}
	if f.Info.AccountNeeded && r.Account == "" && len(r.Native) == 0 && len(f.Info.Accounts) != 1 {
		return refusal(Account, spec, strings.Join(f.Info.Accounts, ", "))
	}
	q, ok := f.Queue(r.Queue)
	if !ok {
		q = f.widest()
	}
	if q.MaxWalltime > 0 && r.Walltime > q.MaxWalltime {
		return refusal(Walltime, spec, fmt.Sprintf("%s in %s", Span(q.MaxWalltime), q.Name))
	}
	if q.Nodes > 0 && r.Nodes > q.Nodes {
		return refusal(Nodes, spec, fmt.Sprintf("%s has %d", q.Name, q.Nodes))
	}
	if n := f.Largest[q.Name]; n.Cores > 0 && r.Cores > n.Cores {
		return refusal(Cores, spec, fmt.Sprintf("the largest of %s has %d", q.Name, n.Cores))
	} else if n.Memory > 0 && r.Memory > n.Memory {
		return refusal(Memory, spec, fmt.Sprintf("the largest of %s has %d", q.Name, n.Memory>>20))
	}
	if names := f.Features[q.Name]; f.Features != nil && identifier.MatchString(r.Constraint) {
		for _, name := range names {
			if name == r.Constraint {
				return nil
			}
		}
		return refusal(Constraint, spec, "the nodes of "+q.Name+" have: "+strings.Join(names, " "))
	}
	return nil
}

// widest is the limits of all queues together, for jobs that go to any.
func (f *Facts) widest() gat.QueueState {
	all := gat.QueueState{Name: "any queue"}
	for _, q := range f.Info.Queues {
		if q.MaxWalltime == 0 || q.Nodes == 0 {
			return gat.QueueState{}
		}
		all.MaxWalltime, all.Nodes = max(all.MaxWalltime, q.MaxWalltime), all.Nodes+q.Nodes
	}
	return all
}

// Cancel ends jobs, many with one command.
func (l *login) Cancel(ctx context.Context, ids ...gat.JobID) error {
	if err := l.usable(ctx, "cancel"); err != nil {
		return err
	}
	var ours []gat.JobID
	for _, id := range ids {
		if l.d.ID(id) {
			ours = append(ours, id)
		}
	}
	l.mu.Lock()
	for _, id := range ours {
		l.memo(id).cancelled = true
	}
	l.mu.Unlock()
	var errs []error
	for len(ours) > 0 {
		part := ours[:min(len(ours), idsAtOnce)]
		ours = ours[len(part):]
		if err := l.cancel(ctx, part); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// idsAtOnce is how many identifiers one command line gets.
const idsAtOnce = 500

func (l *login) cancel(ctx context.Context, ids []gat.JobID) error {
	a, err := l.sh(ctx, plain+one, "", l.d.Cancel(ids)...)
	if err != nil {
		return err
	}
	if a.status == 0 {
		return nil
	}
	// Jobs that are gone are no error, whatever status the command ends with.
	var rest strings.Builder
	for line := range strings.Lines(a.complaint + "\n" + a.out) {
		if strings.TrimSpace(line) != "" && (l.d.Gone == nil || !l.d.Gone.MatchString(line)) {
			rest.WriteString(line)
		}
	}
	if rest.Len() == 0 && a.complaint+a.out != "" {
		return nil
	}
	return l.d.fault("cancel", gat.JobSpec{}, "", rest.String(), a.status)
}
