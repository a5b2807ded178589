package pbs

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// states reads what list.sh prints.
func states(out string) (*batch.Listing, error) {
	s := sections(out)
	if s["ids"] == nil || s["end"] == nil {
		return nil, fmt.Errorf("the answer has no end")
	}
	l, listed, err := jobs(s["jobs"])
	if err != nil {
		return nil, err
	}
	gone := strings.Join(s["gone"], "\n")
	for _, id := range s["ids"] {
		m := idForm.FindStringSubmatch(strings.TrimSpace(id))
		if m == nil || listed[m[1]] || id == "" {
			continue // wrappers print what they like
		}
		if !strings.Contains(gone, m[1]) {
			return nil, fmt.Errorf("qstat did not tell of %s", id)
		}
	}
	return l, nil
}

// accounts reads what qstat -x prints.
func accounts(out string) (*batch.Listing, error) {
	l, _, err := jobs(sections("== jobs\n" + out)["jobs"])
	return l, err
}

// sections is batch.Sections with the space at the beginnings of lines, which
// folds them.
func sections(out string) map[string][]string {
	all := make(map[string][]string)
	name := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		if n, ok := strings.CutPrefix(line, "== "); ok {
			name = n
			if all[name] == nil {
				all[name] = []string{}
			}
			continue
		}
		all[name] = append(all[name], line)
	}
	return all
}

var attribute = regexp.MustCompile(`^    ([A-Za-z_.]+) = (.*)$`)

// jobs reads the text of qstat -f: "Job Id: ID", attributes four spaces in, and lines
// that go on after a tab. It returns the numbers of jobs, too, those of arrays whose
// tasks are not listed included.
func jobs(lines []string) (*batch.Listing, map[string]bool, error) {
	var l batch.Listing
	seen := make(map[string]bool)
	id := ""
	attrs := make(map[string]string)
	last := ""
	flush := func() error {
		if id == "" || strings.Contains(id, "[]") {
			return nil // an array's parent tells nothing of its tasks
		}
		st, err := state(attrs)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		st.ID = gat.JobID(id)
		l.AddNamed(st, attrs["Job_Name"])
		return nil
	}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "Job Id: "); ok {
			if err := flush(); err != nil {
				return nil, nil, err
			}
			id, last = strings.TrimSpace(rest), ""
			clear(attrs)
			m := idForm.FindStringSubmatch(id)
			if m == nil {
				return nil, nil, fmt.Errorf("qstat wrote the identifier %.80q", id)
			}
			seen[m[1]] = true
		} else if m := attribute.FindStringSubmatch(line); m != nil {
			attrs[m[1]], last = m[2], m[1]
		} else if rest, ok := strings.CutPrefix(line, "\t"); ok && last != "" {
			attrs[last] += rest
		}
	}
	return &l, seen, flush()
}

// state reads the attributes of a job.
func state(a map[string]string) (gat.JobStatus, error) {
	st := gat.JobStatus{Exit: -1}
	comment := a["comment"]
	switch a["job_state"] {
	case "Q", "W", "T", "M":
		st.State = gat.Queued
		if strings.Contains(comment, "Can Never Run") {
			st.State = gat.Held
		}
		st.Reason = comment
	case "H":
		st.State, st.Reason = gat.Held, comment
		if comment == "" {
			st.Reason = "held (Hold_Types = " + a["Hold_Types"] + ")"
		}
	case "R", "E", "B":
		st.State = gat.Running
	case "S", "U":
		st.State, st.Reason = gat.Running, strings.TrimSuffix("suspended: "+comment, ": ")
	case "F", "X":
		return ended(a), nil
	default:
		return st, fmt.Errorf("qstat wrote the state %.40q", a["job_state"])
	}
	return st, nil
}

// ended reads how a job ended. A job that never started has no exit status; one that
// the system ended has a negative one, or 256 and the signal.
func ended(a map[string]string) gat.JobStatus {
	st := gat.JobStatus{State: gat.Failed, Exit: -1, Reason: a["comment"]}
	text, has := a["Exit_status"]
	negative := strings.HasPrefix(text, "-")
	code, ok := batch.Number(strings.TrimPrefix(text, "-"))
	switch {
	case !has:
		st.State = gat.Cancelled
	case !ok || negative:
	case code == 0:
		st.State, st.Exit, st.Reason = gat.Done, 0, ""
	case code > 256:
		st.Exit = 128 + code - 256
	default:
		st.Exit = code
	}
	return st
}
