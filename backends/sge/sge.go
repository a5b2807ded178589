package sge

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// Texts for sh: what a job learns of itself, how long it may run when nobody said
// so, how a job of several nodes starts on each, what a site is asked, and how a running
// job is entered.
var (
	//go:embed env.sh
	envText string
	//go:embed left.sh
	leftText string
	//go:embed spread.sh
	spreadText string
	//go:embed probe.sh
	probeText string
	//go:embed inside.sh
	insideText string
)

var idForm = regexp.MustCompile(`^([1-9][0-9]{0,9})(?:\.([1-9][0-9]{0,8}))?$`)

// maxTasks bounds an array; max_aj_tasks is 75000 by default.
const maxTasks = 10_000

// Dialect returns the dialect of the Grid Engine family.
func Dialect() *batch.Dialect {
	return &batch.Dialect{
		Name:     "sge",
		Title:    "Grid Engine",
		Tool:     "qsub",
		Paths:    []string{"/opt/sge/bin/lx-amd64", "/opt/gridengine/bin/lx-amd64", "/usr/local/sge/bin/lx-amd64", "/opt/uge/bin/lx-amd64"},
		ID:       func(id gat.JobID) bool { return idForm.MatchString(string(id)) },
		MaxTasks: maxTasks,
		JobName:  jobName,
		Submit:   submit,
		Unsure:   regexp.MustCompile(`(?i)got no response|error reading answer list|failed receiving gdi|got (read|select) error`),
		IDs:      ids,
		Env:      env,
		Spread:   func(*batch.Job) string { return spreadText },
		Status:   func([]gat.JobID) string { return `qstat -xml -u "$(id -un)"` + "\n" },
		States:   states,
		Account:  account,
		Accounts: accounts,
		Unclear:  func(st gat.JobStatus) bool { return st.State == gat.Held && strings.Contains(st.Reason, "E") },
		Cancel:   cancel,
		Gone:     regexp.MustCompile(`(?i)does not exist|already in deletion|registered the job|has deleted job`),
		Inside:   inside,
		Growing:  growing,
		Probe:    probeText,
		Facts:    facts,
		Faults:   faults,
	}
}

// jobName begins with a letter: digits are refused, dashes are flags.
func jobName(name string) string {
	if c := name[0] | 0x20; c < 'a' || c > 'z' {
		return "j" + name
	}
	switch strings.ToUpper(name) {
	case "NONE", "ALL", "TEMPLATE":
		return "j" + name
	}
	return name
}

func submit(j *batch.Job) ([]string, error) {
	r := j.Spec.Resources
	site := ownOf(j.Facts)
	native, err := batch.Native(r.Native)
	if err != nil {
		return nil, err
	}
	argv := []string{"qsub", "-terse", "-S", "/bin/sh", "-N", j.Name, "-o", "/dev/null", "-j", "y", "-wd", "/"}
	if !slices.Contains(native, "-w") {
		argv = append(argv, "-w", "e")
	}
	if j.Count > 1 {
		argv = append(argv, "-t", fmt.Sprintf("1-%d", j.Count))
	}
	slots := 1
	if !slices.Contains(native, "-pe") {
		pe, n, err := site.environment(r)
		if err != nil {
			return nil, err
		}
		if pe != "" {
			argv = append(argv, "-pe", pe, fmt.Sprint(n))
			slots = n
		}
	}
	add := func(format string, values ...any) { argv = append(argv, "-l", fmt.Sprintf(format, values...)) }
	if r.Walltime > 0 {
		add("h_rt=%d", batch.Seconds(r.Walltime))
		if soft := r.Walltime - r.Warning; r.Warning > 0 && soft > 0 {
			add("s_rt=%d", batch.Seconds(soft))
		}
	}
	if r.Memory > 0 {
		name, each := site.memory()
		bytes := r.Memory * int64(max(r.Nodes, 1))
		if each {
			bytes = (bytes + int64(slots) - 1) / int64(slots)
		}
		add("%s=%dM", name, (bytes+1<<20-1)>>20)
	}
	if r.GPUs > 0 {
		name, err := site.gpus()
		if err != nil {
			return nil, err
		}
		add("%s=%d", name, r.GPUs)
	}
	if r.Exclusive {
		name, err := site.exclusive()
		if err != nil {
			return nil, err
		}
		add("%s=true", name)
	}
	if r.Constraint != "" {
		add("%s", r.Constraint)
	}
	if r.Queue != "" {
		argv = append(argv, "-q", r.Queue)
	}
	if r.Account != "" {
		argv = append(argv, "-P", r.Account)
	}
	return append(argv, native...), nil
}

func env(j *batch.Job) string {
	if j.Spec.Resources.Walltime > 0 {
		return envText
	}
	return envText + leftText
}

var (
	terse     = regexp.MustCompile(`^([1-9][0-9]{0,9})(?:\.([0-9]+)-([0-9]+):([0-9]+))?$`)
	submitted = regexp.MustCompile(`Your job(?:-array)? ([1-9][0-9]{0,9})(?:\.([0-9]+)-([0-9]+):([0-9]+))? \(`)
)

// ids finds what -terse prints, or the sentence of versions and wrappers that drop
// the flag.
func ids(out string, j *batch.Job) []gat.JobID {
	var found []gat.JobID
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		m := terse.FindStringSubmatch(line)
		if m == nil {
			m = submitted.FindStringSubmatch(line)
		}
		switch {
		case m == nil:
		case j.Count <= 1:
			found = append(found, gat.JobID(m[1]))
		default:
			for n := 1; n <= j.Count; n++ {
				found = append(found, gat.JobID(fmt.Sprintf("%s.%d", m[1], n)))
			}
		}
	}
	return found
}

// inside starts a task of the job on one of its nodes, as a job that is in a parallel
// environment with control_slaves does by itself: the execution daemon there asks for
// the job's number only. It takes as many at once as the job has slots on the node.
// The node connects to this host, to any port; where that is barred there is no way in.
func inside(id gat.JobID, node int) string {
	m := idForm.FindStringSubmatch(string(id))
	return fmt.Sprintf("gat_job=%s gat_task=%s gat_node=%d\n", m[1], m[2], node) + insideText
}

// cancel names tasks in ranges: one command for the jobs that are none, and one for
// each range.
func cancel(ids []gat.JobID) []string {
	argv := []string{"qdel"}
	tasks := make(map[string][]int)
	var jobs []string
	for _, id := range ids {
		m := idForm.FindStringSubmatch(string(id))
		switch {
		case m == nil:
			argv = append(argv, string(id)) // a rendering
		case m[2] == "":
			argv = append(argv, m[1])
		default:
			if tasks[m[1]] == nil {
				jobs = append(jobs, m[1])
			}
			n, _ := batch.Number(m[2])
			tasks[m[1]] = append(tasks[m[1]], n)
		}
	}
	if len(jobs) == 0 {
		return argv
	}
	var b strings.Builder
	b.WriteString("gat_s=0\n")
	if len(argv) > 1 {
		fmt.Fprintf(&b, "%s || gat_s=$?\n", strings.Join(argv, " "))
	}
	for _, job := range jobs {
		slices.Sort(tasks[job])
		list := slices.Compact(tasks[job])
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n] == list[n-1]+1 {
				n++
			}
			fmt.Fprintf(&b, "qdel %s -t %d-%d || gat_s=$?\n", job, list[0], list[n-1])
			list = list[n:]
		}
	}
	b.WriteString("exit $gat_s\n")
	return []string{"/bin/sh", "-c", b.String()}
}

var faults = []batch.Fault{
	{Match: regexp.MustCompile(`(?i)unknown queue|queue .* does not exist|no such queue`), About: batch.Queue},
	{Match: regexp.MustCompile(`(?i)project .* does not exist|no project|project .*(not|has no) (access|permission)|job rejected:.*project|needs? a project|enforce_project`), About: batch.Account},
	{Match: regexp.MustCompile(`(?i)unknown resource|parallel environment .* does not exist|unknown option|invalid option|ERROR! -`), About: batch.NativeFlags},
	{Match: regexp.MustCompile(`(?i)no suitable queues`), About: batch.Size},
	{Match: regexp.MustCompile(`(?i)not allowed to submit|only allows? .* jobs|max_u_jobs|max_jobs|job-array.* more tasks`), Class: gat.Transient, Hint: "the limit of jobs is reached: ask for fewer pilots"},
	{Match: regexp.MustCompile(`(?i)unable to contact qmaster|cannot connect to qmaster|can.t connect|unable to send message to qmaster|got no response|unable to read qmaster name|error reading answer list|failed receiving gdi|commlib|can't (get|resolve)`), Class: gat.Transient, Hint: "the qmaster does not answer at the moment"},
	{Match: regexp.MustCompile(`(?i)no submit host|is no (submit|admin)|neither submit nor admin`), Class: gat.Denied, Hint: "this host may not submit jobs: log in to one that may"},
	{Match: regexp.MustCompile(`(?i)SGE_ROOT`), Class: gat.Permanent, Hint: "the settings of Grid Engine are not in the start files of this login"},
}
