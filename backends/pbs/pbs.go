package pbs

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// Texts for sh: what a job learns of itself, how long it may run when nobody said
// so, how a job of several nodes starts on each, how jobs are read and listed, and
// what a site is asked.
var (
	//go:embed env.sh
	envText string
	//go:embed left.sh
	leftText string
	//go:embed spread.sh
	spreadText string
	//go:embed status.sh
	statusText string
	//go:embed list.sh
	listText string
	//go:embed probe.sh
	probeText string
)

var idForm = regexp.MustCompile(`^([0-9]{1,12})(\[[0-9]{0,9}\])?(\.[A-Za-z0-9][A-Za-z0-9_.-]{0,200})?$`)

const (
	maxTasks = 1000 // max_array_size is 10000 by default
	maxName  = 230  // bytes of a job's name; 15 before 13
)

// Dialect returns the dialect of PBS Professional and OpenPBS.
func Dialect() *batch.Dialect {
	return &batch.Dialect{
		Name:     "pbs",
		Title:    "PBS",
		Tool:     "qsub",
		Paths:    []string{"/opt/pbs/bin", "/usr/pbs/bin", "/opt/pbs/default/bin"},
		ID:       func(id gat.JobID) bool { return idForm.MatchString(string(id)) },
		MaxTasks: maxTasks,
		JobName:  jobName,
		Submit:   submit,
		Unsure:   regexp.MustCompile(`(?i)batch protocol error|end of file`),
		IDs:      ids,
		Env:      env,
		Spread:   func(*batch.Job) string { return spreadText },
		Status:   func([]gat.JobID) string { return statusText + listText },
		States:   states,
		Account: func(ids []gat.JobID) string {
			return statusText + "gat_ask -x -t -f" + words(ids) + " || exit\n"
		},
		Accounts: accounts,
		Cancel:   func(ids []gat.JobID) []string { return append([]string{"qdel"}, texts(ids)...) },
		Gone:     regexp.MustCompile(`(?i)has finished|unknown job id|request invalid for state`),
		Growing:  growing,
		Probe:    probeText,
		Facts:    facts,
		Faults:   faults,
	}
}

func texts(ids []gat.JobID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(id)
	}
	return all
}

// words quotes identifiers: their brackets are patterns to sh.
func words(ids []gat.JobID) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(" '" + string(id) + "'")
	}
	return b.String()
}

// jobName begins with a letter, and is short enough; a digest keeps names that are
// cut apart.
func jobName(name string) string {
	if c := name[0] | 0x20; c < 'a' || c > 'z' {
		name = "j" + name
	}
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxName-9] + "-" + hex.EncodeToString(sum[:4])
	}
	return name
}

func submit(j *batch.Job) ([]string, error) {
	r := j.Spec.Resources
	argv := []string{"qsub", "-N", shorter(j.Name, j.Facts), "-S", "/bin/sh", "-o", "/dev/null", "-e", "/dev/null", "-j", "oe"}
	if j.Count > 1 {
		argv = append(argv, "-J", fmt.Sprintf("1-%d", j.Count))
	}
	chunk := fmt.Sprintf("select=%d:ncpus=%d", r.Nodes, max(r.Cores, 1))
	if r.GPUs > 0 {
		chunk += fmt.Sprintf(":ngpus=%d", r.GPUs)
	}
	if r.Memory > 0 {
		chunk += fmt.Sprintf(":mem=%dmb", (r.Memory+1<<20-1)>>20)
	}
	if r.Constraint != "" {
		chunk += ":" + r.Constraint
	}
	argv = append(argv, "-l", chunk)
	switch {
	case r.Exclusive:
		argv = append(argv, "-l", "place=scatter:exclhost")
	case r.Nodes > 1:
		argv = append(argv, "-l", "place=scatter")
	}
	if r.Walltime > 0 {
		argv = append(argv, "-l", "walltime="+batch.HMS(r.Walltime))
	}
	if r.Queue != "" {
		argv = append(argv, "-q", r.Queue)
	}
	if r.Account != "" {
		argv = append(argv, "-A", r.Account)
	}
	native, err := batch.Native(r.Native)
	return append(argv, native...), err
}

// shorter cuts a name for versions that take no more than 15 bytes.
func shorter(name string, f *batch.Facts) string {
	const old, most = 13, 15
	if f == nil || len(name) <= most {
		return name
	}
	major, _, _ := strings.Cut(f.Info.Version, ".")
	if n, ok := batch.Number(major); !ok || n >= old {
		return name
	}
	return name[:most]
}

var submitted = regexp.MustCompile(`^([0-9]{1,12})(\[\])?(\.[A-Za-z0-9][A-Za-z0-9_.-]*)$`)

// ids finds the identifier among whatever else is printed.
func ids(out string, j *batch.Job) []gat.JobID {
	var found []gat.JobID
	for line := range strings.Lines(out) {
		m := submitted.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case m == nil:
		case m[2] == "" && j.Count <= 1:
			found = append(found, gat.JobID(m[0]))
		case m[2] != "" && j.Count > 1:
			for n := 1; n <= j.Count; n++ {
				found = append(found, gat.JobID(fmt.Sprintf("%s[%d]%s", m[1], n, m[3])))
			}
		}
	}
	return found
}

func env(j *batch.Job) string {
	if j.Spec.Resources.Walltime > 0 {
		return envText
	}
	return envText + leftText
}

var faults = []batch.Fault{
	{Match: regexp.MustCompile(`(?i)unknown queue|queue is not enabled|access to queue is denied|route rejected`), About: batch.Queue},
	{Match: regexp.MustCompile(`(?i)invalid (account|project)|(account|project).*(is not valid|not found|required|denied)`), About: batch.Account},
	{Match: regexp.MustCompile(`(?i)walltime`), About: batch.Walltime},
	{Match: regexp.MustCompile(`(?i)unknown resource|illegal (attribute|option|-)|invalid option|unrecognized option`), About: batch.NativeFlags},
	{Match: regexp.MustCompile(`(?i)exceeds.*resource limits|violates queue and/or server resource limits`), About: batch.Size},
	{Match: regexp.MustCompile(`(?i)would exceed|limit on number of jobs|max_queued|maximum number of jobs`), Class: gat.Transient, Hint: "the limit of jobs is reached: ask for fewer pilots"},
	{Match: regexp.MustCompile(`(?i)array.*(size|range)|max_array_size`), Class: gat.Invalid, Hint: `ask for fewer pilots, or write shape = "single" in the sites file`},
	{Match: regexp.MustCompile(`(?i)cannot connect to|pbs_iff|server shutting down|batch protocol error|end of file|no permission\.`), Class: gat.Transient, Hint: "the server does not answer at the moment"},
	{Match: regexp.MustCompile(`(?i)bad uid|unauthorized request`), Class: gat.Denied},
}
