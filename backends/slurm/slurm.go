package slurm

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
// so, how a job of several nodes starts on each, and what a site is asked.
var (
	//go:embed env.sh
	envText string
	//go:embed left.sh
	leftText string
	//go:embed spread.sh
	spreadText string
	//go:embed probe.sh
	probeText string
)

// Slurm's own defaults.
const (
	maxScript = 4 << 20 // max_script_size, in bytes
	maxTasks  = 1000    // MaxArraySize less one
)

var idForm = regexp.MustCompile(`^([1-9][0-9]{0,9})(_[0-9]{1,9})?(?:;([A-Za-z0-9][A-Za-z0-9_.-]{0,62}))?$`)

// Dialect returns the dialect of Slurm.
func Dialect() *batch.Dialect {
	return &batch.Dialect{
		Name:      "slurm",
		Title:     "Slurm",
		Tool:      "sbatch",
		Paths:     []string{"/opt/slurm/bin", "/usr/local/slurm/bin", "/opt/slurm/current/bin", "/cm/shared/apps/slurm/current/bin"},
		ID:        func(id gat.JobID) bool { return idForm.MatchString(string(id)) },
		MaxScript: maxScript,
		MaxTasks:  maxTasks,
		Submit:    submit,
		Unsure:    regexp.MustCompile(`(?i)zero bytes were transmitted|unexpected message received|error receiving`),
		IDs:       ids,
		Env:       env,
		Spread:    func(*batch.Job) string { return spreadText },
		Status:    status,
		States:    states,
		Account:   account,
		Accounts:  accounts,
		Cancel:    cancel,
		Gone:      regexp.MustCompile(`(?i)invalid job id|already completing or completed|job/step already|does not exist`),
		Inside:    inside,
		Growing:   growing,
		Probe:     probeText,
		Facts:     facts,
		Faults:    faults,
	}
}

func submit(j *batch.Job) ([]string, error) {
	r := j.Spec.Resources
	argv := []string{"sbatch", "--parsable", "--job-name=" + j.Name, "--output=/dev/null", "--error=/dev/null", "-D", "/",
		fmt.Sprintf("--nodes=%d", r.Nodes), "--ntasks-per-node=1"}
	add := func(format string, value any) { argv = append(argv, fmt.Sprintf(format, value)) }
	if j.Count > 1 {
		add("--array=1-%d", j.Count)
	}
	if r.Cores > 0 {
		add("--cpus-per-task=%d", r.Cores)
	}
	if r.Memory > 0 {
		add("--mem=%dM", (r.Memory+1<<20-1)>>20)
	}
	if r.GPUs > 0 {
		if v := version(j.Facts); v != "" && before(v, 19, 5) {
			add("--gres=gpu:%d", r.GPUs)
		} else {
			add("--gpus-per-node=%d", r.GPUs)
		}
	}
	if r.Walltime > 0 {
		add("--time=%d", batch.Minutes(r.Walltime))
	}
	if r.Queue != "" {
		add("--partition=%s", r.Queue)
	}
	if r.Account != "" {
		add("--account=%s", r.Account)
	}
	if r.Constraint != "" {
		add("--constraint=%s", r.Constraint)
	}
	if r.Exclusive {
		argv = append(argv, "--exclusive")
	}
	if s := batch.Seconds(r.Warning); s > 0 {
		to := "B:" // the batch script, which hands it on
		if r.Shape == gat.Multi {
			to = "" // the steps
		}
		argv = append(argv, fmt.Sprintf("--signal=%sUSR1@%d", to, min(s, 65535)))
	}
	native, err := batch.Native(r.Native)
	return append(argv, native...), err
}

func version(f *batch.Facts) string {
	if f == nil {
		return ""
	}
	return f.Info.Version
}

// before reports whether a version such as 22.05.8 is older than major.minor.
func before(v string, major, minor int) bool {
	parts := append(strings.Split(v, "."), "", "")
	a, ok := batch.Number(parts[0])
	b, _ := batch.Number(parts[1])
	return ok && (a < major || a == major && b < minor)
}

var (
	parsable  = regexp.MustCompile(`^([1-9][0-9]{0,9})(;[A-Za-z0-9][A-Za-z0-9_.-]{0,62})?$`)
	submitted = regexp.MustCompile(`Submitted batch job ([1-9][0-9]{0,9})(?: on cluster ([A-Za-z0-9][A-Za-z0-9_.-]{0,62}))?`)
)

// ids finds what --parsable prints, or the sentence of wrappers that drop the flag,
// among whatever else is printed.
func ids(out string, j *batch.Job) []gat.JobID {
	var found []gat.JobID
	add := func(job, cluster string) {
		if j.Count <= 1 {
			found = append(found, gat.JobID(job+cluster))
			return
		}
		for n := 1; n <= j.Count; n++ {
			found = append(found, gat.JobID(fmt.Sprintf("%s_%d%s", job, n, cluster)))
		}
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if m := parsable.FindStringSubmatch(line); m != nil {
			add(m[1], m[2])
		} else if m := submitted.FindStringSubmatch(line); m != nil {
			if m[2] != "" {
				m[2] = ";" + m[2]
			}
			add(m[1], m[2])
		}
	}
	return found
}

// env sets what the job learns. Where the submission names a cluster its
// identifiers have the cluster's name.
func env(j *batch.Job) string {
	text := envText
	if slices.ContainsFunc(j.Spec.Resources.Native, namesCluster) {
		text += "[ -z \"$SLURM_CLUSTER_NAME\" ] || GAT_JOB=\"$GAT_JOB;$SLURM_CLUSTER_NAME\"\n"
	}
	if j.Spec.Resources.Walltime == 0 {
		text += leftText
	}
	return text
}

// byCluster groups identifiers, as words for commands, by their clusters.
func byCluster(ids []gat.JobID) (clusters []string, words map[string][]string) {
	words = make(map[string][]string)
	for _, id := range ids {
		m := idForm.FindStringSubmatch(string(id))
		if m == nil {
			continue
		}
		if words[m[3]] == nil {
			clusters = append(clusters, m[3])
		}
		words[m[3]] = append(words[m[3]], m[1]+m[2])
	}
	slices.Sort(clusters)
	return clusters, words
}

// on is the flag that names a cluster.
func on(cluster string) string {
	if cluster == "" {
		return ""
	}
	return " -M " + cluster
}

func cancel(ids []gat.JobID) []string {
	clusters, words := byCluster(ids)
	if len(clusters) == 1 && clusters[0] == "" {
		return append([]string{"scancel"}, words[""]...)
	}
	if len(clusters) == 0 { // a rendering
		return []string{"scancel", "ID"}
	}
	var b strings.Builder
	b.WriteString("gat_s=0\n")
	for _, c := range clusters {
		fmt.Fprintf(&b, "scancel%s %s || gat_s=$?\n", on(c), strings.Join(words[c], " "))
	}
	b.WriteString("exit $gat_s\n")
	return []string{"/bin/sh", "-c", b.String()}
}

// inside starts a step on one of the job's nodes. Tasks of arrays have a number of
// their own, which srun needs. The output is not to wait for ends of lines.
func inside(id gat.JobID, node int) string {
	m := idForm.FindStringSubmatch(string(id))
	return fmt.Sprintf(`gat_j=$(squeue -h -r%[2]s -j '%[1]s' -t running -o %%A </dev/null | head -n 1)
[ -n "$gat_j" ] || { echo "job %[1]s does not run" >&2; exit 1; }
gat_more=
srun --help 2>&1 </dev/null | grep -e --overlap >/dev/null && gat_more=--overlap
exec srun%[2]s $gat_more --jobid="$gat_j" --relative=%[3]d --nodes=1 --ntasks=1 --quiet --unbuffered "$@"
`, m[1]+m[2], on(m[3]), node)
}

var faults = []batch.Fault{
	{Match: regexp.MustCompile(`(?i)invalid partition|partition specification|not permitted to use this partition|required partition not available`), About: batch.Queue},
	{Match: regexp.MustCompile(`(?i)invalid account|account specified is invalid|invalid account or account/partition`), About: batch.Account},
	{Match: regexp.MustCompile(`(?i)invalid feature|invalid constraint`), About: batch.Constraint},
	{Match: regexp.MustCompile(`(?i)requested time limit is invalid|exceeds? (the )?(partition )?time limit|invalid time limit|PartitionTimeLimit`), About: batch.Walltime},
	{Match: regexp.MustCompile(`(?i)node count specification|PartitionNodeLimit|too many nodes`), About: batch.Nodes},
	{Match: regexp.MustCompile(`(?i)cpu count per node`), About: batch.Cores},
	{Match: regexp.MustCompile(`(?i)memory specification can not|memory required by task is not available`), About: batch.Memory},
	{Match: regexp.MustCompile(`(?i)invalid generic resource|invalid gres|gpus`), About: batch.GPUs},
	{Match: regexp.MustCompile(`(?i)requested node configuration is not available|more processors requested`), About: batch.Size},
	{Match: regexp.MustCompile(`(?i)unrecognized option|invalid option|unknown option|requires an argument|invalid qos|invalid license|invalid reservation|requested reservation`), About: batch.NativeFlags},
	{Match: regexp.MustCompile(`(?i)script.*too (large|long|big)|other parameter too long`), Class: gat.Invalid, Hint: "name a directory that this host and the nodes share: the key shared of the site in the sites file"},
	{Match: regexp.MustCompile(`(?i)invalid job array specification`), Class: gat.Invalid, Hint: `ask for fewer pilots, or write shape = "single" in the sites file`},
	{Match: regexp.MustCompile(`(?i)violates accounting/qos policy|MaxSubmit|submit limit`), Class: gat.Transient, Hint: "the user's limit of jobs is reached: ask for fewer pilots"},
	{Match: regexp.MustCompile(`(?i)invalid user id|access/permission denied|group not permitted`), Class: gat.Denied},
	{Match: regexp.MustCompile(`(?i)socket timed out|unable to contact slurm|slurm controller|backup controller|zero bytes were transmitted|unexpected message received|temporarily unable|configuration|munge|credential|step creation temporarily`), Class: gat.Transient, Hint: "the controller does not answer at the moment"},
}
