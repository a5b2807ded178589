package slurm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// status lists the user's jobs, tasks of arrays each by itself, in fields that
// every version has. Its heading proves that the list was made.
func status(ids []gat.JobID) string {
	clusters, _ := byCluster(ids)
	if len(clusters) == 0 {
		clusters = []string{""}
	}
	var b strings.Builder
	for _, c := range clusters {
		fmt.Fprintf(&b, "squeue%s -r -t all -u \"$(id -un)\" -o '%%i|%%T|%%r|%%j' || exit\n", on(c))
	}
	return b.String()
}

// states reads such a list.
func states(out string) (*batch.Listing, error) {
	var l batch.Listing
	headed, cluster := false, ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "CLUSTER: "); ok {
			cluster = ";" + strings.TrimSpace(name)
			continue
		}
		f := strings.SplitN(line, "|", 4)
		switch {
		case line == "":
		case line == "JOBID|STATE|REASON|NAME":
			headed = true
		case !headed: // what a start file or a wrapper prints
		case len(f) != 4:
			return nil, fmt.Errorf("squeue wrote %.80q", line)
		default:
			st := state(f[1], f[2])
			if st.State == gat.Unknown {
				return nil, fmt.Errorf("squeue wrote the state %.80q", f[1])
			}
			if err := add(&l, f[0], cluster, f[3], st); err != nil {
				return nil, err
			}
		}
	}
	if !headed {
		return nil, errors.New("squeue wrote no heading")
	}
	return &l, nil
}

var ranged = regexp.MustCompile(`^([1-9][0-9]{0,9})_\[([0-9,:-]+)(%[0-9]+)?\]$`)

// add adds a job, or the tasks that wait in one line: 6_[2-3,7%2].
func add(l *batch.Listing, id, cluster, name string, st gat.JobStatus) error {
	if idForm.MatchString(id) {
		st.ID = gat.JobID(id + cluster)
		l.AddNamed(st, name)
		return nil
	}
	m := ranged.FindStringSubmatch(id)
	if m == nil {
		if strings.ContainsAny(id, "+[") {
			return nil // parts of heterogeneous jobs, and lists cut short: none of ours
		}
		return fmt.Errorf("squeue wrote the identifier %.80q", id)
	}
	for part := range strings.SplitSeq(m[2], ",") {
		part, step, _ := strings.Cut(part, ":")
		first, last, is := strings.Cut(part, "-")
		if !is {
			last = first
		}
		r := batch.Range{Prefix: m[1] + "_", Suffix: cluster, Step: 1, Status: st, Name: name}
		var ok1, ok2 bool
		r.First, ok1 = batch.Number(first)
		r.Last, ok2 = batch.Number(last)
		if n, ok := batch.Number(step); ok {
			r.Step = n
		}
		if !ok1 || !ok2 {
			return fmt.Errorf("squeue wrote the identifier %.80q", id)
		}
		l.Ranges = append(l.Ranges, r)
	}
	return nil
}

var (
	never = regexp.MustCompile(`^(JobHeld.*|PartitionNodeLimit|PartitionTimeLimit|PartitionConfig|.*account not (known|allowed|permitted).*|PartitionDown|PartitionInactive|BadConstraints|AccountNotAllowed|Invalid(Account|QOS)|QOSNotAllowed|(QOS|Assoc).*PerJob(Limit)?|DependencyNeverSatisfied|ReservationDeleted|JobHoldMaxRequeue|.*requeued?[ _]held.*)$`)

	// why says in words what some of Slurm's do not.
	why = map[string]string{
		"PartitionTimeLimit": "the wall time is over the partition's limit",
		"PartitionNodeLimit": "there are not so many nodes in the partition",
		"BadConstraints":     "no node fulfils the constraint",
		"PartitionConfig":    "no node of the partition has what the job asks for",
	}
)

// state reads a state as squeue, sacct and scontrol write it, with its reason.
func state(text, reason string) gat.JobStatus {
	word, _, _ := strings.Cut(text, " ") // CANCELLED by 1000
	word = strings.TrimSuffix(word, "+")
	st := gat.JobStatus{Exit: -1, Reason: reason}
	if reason == "None" || reason == "(null)" {
		st.Reason = ""
	}
	switch word {
	case "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED":
		st.State = gat.Queued
		if never.MatchString(reason) {
			st.State = gat.Held
		}
		if text := why[reason]; text != "" {
			st.Reason += ": " + text
		}
	case "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT":
		st.State, st.Reason = gat.Held, join(word, st.Reason)
	case "RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING":
		st.State = gat.Running
	case "SUSPENDED", "STOPPED":
		st.State, st.Reason = gat.Running, join(word, st.Reason)
	case "COMPLETED":
		st.State, st.Exit = gat.Done, 0
	case "CANCELLED":
		st.State, st.Reason = gat.Cancelled, join(text, st.Reason)
	case "FAILED", "BOOT_FAIL", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "DEADLINE", "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL":
		st.State = gat.Failed
		if word != "FAILED" || st.Reason == "" {
			st.Reason = join(word, st.Reason)
		}
	}
	return st
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

// scontrolAtOnce is how many jobs are looked up one by one.
const scontrolAtOnce = 50

// account looks jobs up in the accounting, and, where there is none, in the
// controller's memory.
func account(ids []gat.JobID) string {
	var b strings.Builder
	clusters, words := byCluster(ids)
	for _, c := range clusters {
		fmt.Fprintf(&b, "echo 'CLUSTER: %s'\nif gat_a=$(sacct%s -n -X -P -o JobID,State,ExitCode -j %s 2>/dev/null); then printf '%%s\\n' \"$gat_a\"; fi\n", c, on(c), strings.Join(words[c], ","))
		for _, w := range words[c][:min(len(words[c]), scontrolAtOnce)] {
			fmt.Fprintf(&b, "case $gat_a in *'%[1]s|'*) ;; *) scontrol%[2]s -o show job %[1]s 2>/dev/null ;; esac\n", w, on(c))
		}
	}
	b.WriteString(":\n")
	return b.String()
}

var (
	accounted = regexp.MustCompile(`^([1-9][0-9]{0,9}(?:_(?:[0-9]{1,9}|\[[^\]]*\]))?)\|([A-Z_]+[^|]*)\|([0-9]{1,3}):([0-9]{1,3})$`)
	shown     = regexp.MustCompile(`(?:^| )(JobId|ArrayJobId|ArrayTaskId|JobState|Reason|ExitCode)=(\S*)`)
)

// accounts reads what account prints. Nothing of it is taken for another job's.
func accounts(out string) (*batch.Listing, error) {
	var l batch.Listing
	cluster := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "CLUSTER: "); ok {
			cluster = ";" + name
		} else if line == "CLUSTER:" {
			cluster = ""
		} else if m := accounted.FindStringSubmatch(line); m != nil {
			if err := add(&l, m[1], cluster, "", ended(state(m[2], ""), m[3], m[4])); err != nil {
				return nil, err
			}
		} else if strings.HasPrefix(line, "JobId=") {
			f := make(map[string]string)
			for _, m := range shown.FindAllStringSubmatch(line, -1) {
				if _, ok := f[m[1]]; !ok {
					f[m[1]] = m[2]
				}
			}
			id := f["JobId"]
			if f["ArrayJobId"] != "" && f["ArrayTaskId"] != "" {
				id = f["ArrayJobId"] + "_" + f["ArrayTaskId"]
			}
			code, signal, _ := strings.Cut(f["ExitCode"], ":")
			if idForm.MatchString(id) {
				add(&l, id, cluster, "", ended(state(f["JobState"], f["Reason"]), code, signal))
			}
		}
	}
	return &l, nil
}

// ended adds the exit status of a job that ended. One that was ended by the system
// has none.
func ended(st gat.JobStatus, code, signal string) gat.JobStatus {
	c, ok := batch.Number(code)
	s, ok2 := batch.Number(signal)
	if !ok || !ok2 || st.State != gat.Failed || c+s == 0 {
		return st
	}
	st.Exit = c
	if s > 0 {
		st.Exit = 128 + s
	}
	return st
}
