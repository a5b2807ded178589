package prun

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// Texts for sh: what starts a keeper, lists them and ends them, and what a job
// learns of itself.
var (
	//go:embed submit.sh
	submitText string
	//go:embed list.sh
	listText string
	//go:embed cancel.sh
	cancelText string
	//go:embed env.sh
	envText string
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9]{10}$`)

// Dialect returns the dialect of prun. A job of several nodes is one prun, which
// starts the script on each by itself.
func Dialect() *batch.Dialect {
	return &batch.Dialect{
		Name:   "prun",
		Title:  "prun",
		Tool:   "prun",
		Paths:  []string{"/usr/local/prun/bin", "/opt/prun/bin", "/cm/shared/package/prun/bin"},
		ID:     func(id gat.JobID) bool { return idForm.MatchString(string(id)) },
		Refuse: refuse,
		Submit: submit,
		IDs:    ids,
		Env:    func(*batch.Job) string { return envText },
		Status: func([]gat.JobID) string { return listText },
		States: states,
		Cancel: cancel,
		Probe:  "prun -version </dev/null 2>&1 | head -n 1\nexit 0\n",
		Facts:  facts,
		Faults: []batch.Fault{
			{Match: regexp.MustCompile(`(?i)quota exceeded|no space left`), Class: gat.Permanent, Hint: "prun's jobs need a little room in the home directory, from which the nodes read their script"},
		},
		Everywhere: true,
	}
}

// refuse names the keys that prun has no flags for.
func refuse(spec gat.JobSpec) error {
	r := spec.Resources
	for key, given := range map[string]bool{"account": r.Account != "", "constraint": r.Constraint != "", "gpus": r.GPUs > 0} {
		if given {
			return &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("prun has no flag for the key %s", key), Hint: `use native, such as native = ["-native '-l gpu=1'"], in the sites file`}
		}
	}
	return nil
}

func submit(j *batch.Job) ([]string, error) {
	r := j.Spec.Resources
	argv := []string{"/bin/sh", "-c", "gat_name=$1\nshift\n" + submitText, "sh", j.Name, "prun", "-np", fmt.Sprint(r.Nodes), "-1"}
	if r.Walltime > 0 {
		argv = append(argv, "-t", batch.HMS(r.Walltime))
	}
	if r.Queue != "" {
		argv = append(argv, "-q", r.Queue)
	}
	native, err := batch.Native(r.Native)
	return append(argv, native...), err
}

func ids(out string, _ *batch.Job) []gat.JobID {
	var found []gat.JobID
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); idForm.MatchString(line) {
			found = append(found, gat.JobID(line))
		}
	}
	return found
}

func cancel(ids []gat.JobID) []string {
	argv := []string{"/bin/sh", "-c", cancelText, "sh"}
	for _, id := range ids {
		argv = append(argv, string(id))
	}
	return argv
}

// states reads what list.sh prints.
func states(out string) (*batch.Listing, error) {
	var l batch.Listing
	started, ended := false, false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		switch line {
		case "== jobs":
			started = true
			continue
		case "== end":
			ended = true
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if !started || ended || len(f) != 3 {
			continue
		}
		st := gat.JobStatus{ID: gat.JobID(f[0]), State: gat.Queued, Exit: -1}
		switch {
		case !idForm.MatchString(f[0]):
			continue // a directory of somebody else's making
		case f[1] == "running":
			st.State = gat.Running
		case f[1] != "queued":
			return nil, fmt.Errorf("the state %.40q is none", f[1])
		}
		l.AddNamed(st, f[2])
	}
	if !ended {
		return nil, errors.New("the answer has no end")
	}
	return &l, nil
}

// facts says what is known of a prun: nearly nothing.
func facts(out string) (*batch.Facts, error) {
	f := &batch.Facts{}
	if line := strings.TrimSpace(out); line != "" && len(line) < 100 && strings.ContainsAny(line, "0123456789") {
		f.Info.Version = line
	}
	f.Info.Notes = []string{"prun tells nothing of its queues.", "The nodes read the job's script from the home directory, which they must share with this host."}
	return f, nil
}
