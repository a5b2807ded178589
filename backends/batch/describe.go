package batch

import (
	"context"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// factsLast is how long what is known of a site serves for submissions.
const factsLast = 15 * time.Minute

// Describe asks the system for its queues, now.
func (l *login) Describe(ctx context.Context) (gat.QueueInfo, error) {
	facts, err := l.probe(ctx)
	if err != nil {
		return gat.QueueInfo{}, err
	}
	return facts.Info, nil
}

// known returns what is known of the site, asked when that was too long ago. Of
// simultaneous callers one asks.
func (l *login) known(ctx context.Context) (*Facts, error) {
	for {
		l.mu.Lock()
		if l.facts != nil && time.Since(l.factsAt) < factsLast {
			defer l.mu.Unlock()
			return l.facts, nil
		}
		wait := l.probing
		if wait == nil {
			wait = make(chan struct{})
			l.probing = wait
			l.mu.Unlock()
			facts, err := l.probe(ctx)
			l.mu.Lock()
			l.probing = nil
			close(wait)
			l.mu.Unlock()
			return facts, err
		}
		l.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *login) probe(ctx context.Context) (*Facts, error) {
	const op = "describe"
	if l.d.Probe == "" {
		return &Facts{Info: gat.QueueInfo{Scheduler: l.d.Title}}, nil
	}
	out, err := l.ask(ctx, op, l.d.Probe)
	if err != nil {
		return nil, err
	}
	facts, err := l.d.Facts(out)
	if err != nil {
		return nil, l.d.transient(op, err)
	}
	facts.Info.Scheduler = l.d.Title
	l.mu.Lock()
	l.facts, l.factsAt = facts, time.Now()
	l.mu.Unlock()
	return facts, nil
}

// MaxNodeNames is how many names of compute nodes a description has at most.
const MaxNodeNames = 16

// Sections splits the output of a probe at its lines "== NAME".
func Sections(out string) map[string][]string {
	all := make(map[string][]string)
	name := ""
	for _, line := range lines(out) {
		if n, ok := cutPrefix(line, "== "); ok {
			name = n
			if all[name] == nil {
				all[name] = []string{}
			}
			continue
		}
		if line != "" {
			all[name] = append(all[name], line)
		}
	}
	return all
}
