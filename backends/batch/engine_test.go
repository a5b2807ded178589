package batch_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// queue is a fake Slurm with a login.
type queue struct {
	*testing.T
	*batchtest.Fake
	gat.Login
	dir string // of the test
}

func open(t *testing.T, every time.Duration) *queue {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	if every > 0 {
		f.Every = every
	}
	l := f.Open(t)
	t.Cleanup(func() { l.Close() })
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &queue{t, f, l, dir}
}

func (q *queue) submit(spec gat.JobSpec) []gat.JobID {
	q.Helper()
	ids, err := q.Submit(q.Context(), spec)
	q.Cleanup(func() { q.Cancel(context.WithoutCancel(q.Context()), ids...) })
	if err != nil {
		q.Fatal(err)
	}
	return ids
}

// until polls until a job's state is one of those wanted.
func (q *queue) until(id gat.JobID, want ...gat.State) gat.JobStatus {
	q.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last []gat.JobStatus
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		all, err := q.Status(q.Context(), id)
		if err != nil {
			q.Fatal(err)
		}
		if slices.Contains(want, all[0].State) {
			return all[0]
		}
		last = all
	}
	q.Fatalf("job %s is %v, want it to be %v", id, last, want)
	return gat.JobStatus{}
}

// sh runs a script as a job and returns what it prints.
func (q *queue) sh(spec gat.JobSpec, script string, args ...string) string {
	q.Helper()
	spec.Argv = append([]string{"/bin/sh", "-c", script, "sh"}, args...)
	spec.Stderr = filepath.Join(q.dir, "out-"+rand.Text())
	q.until(q.submit(spec)[0], gat.Done, gat.Failed)
	out, err := os.ReadFile(spec.Stderr)
	if err != nil {
		q.Fatal(err)
	}
	return string(out)
}

func (q *queue) ran(command string) int {
	n := 0
	for _, line := range q.Commands(q.T) {
		if line == command || strings.HasPrefix(line, command+" ") {
			n++
		}
	}
	return n
}

// Nothing of a job is interpreted on the way, through login, script and shell.
func TestHostileJob(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	spec := gat.JobSpec{}
	for i, s := range hostile {
		spec.Env = append(spec.Env, fmt.Sprintf("GATTEST_%d=%s", i, s))
	}
	spec.Env = append(spec.Env, "odd-name=a b", "UID=77", "IFS=x", "PATH=/nowhere:/usr/bin:/bin")
	spec.Dir = filepath.Join(q.dir, "it's a $(dir)\n#$ -o x")
	if err := os.Mkdir(spec.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, s := range hostile {
		want.WriteString(s + "\x00" + s + "\x00")
	}
	want.WriteString("a b\x00" + spec.Dir)
	got := q.sh(spec, `i=0
for a; do
	eval "v=\$GATTEST_$i; w=\${GATTEST_$i}"
	printf '%s\0%s\0' "$a" "$v"
	i=$((i + 1))
done
tr '\0' '\n' </proc/$$/environ | sed -n 's/^odd-name=//p' | tr -d '\n'
printf '\0%s' "$PWD"`, hostile...)
	if got != want.String() {
		g, w := strings.Split(got, "\x00"), strings.Split(want.String(), "\x00")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("text %d arrives as %q, want %q", i, g[i], w[i])
			}
		}
		t.Fatalf("%d texts arrive, want %d", len(g), len(w))
	}
}

// What the scheduler granted is told in the project's own variables.
func TestVariables(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	const show = `echo "$GAT_JOB $GAT_CORES $GAT_MEMORY $GAT_LEFT ${GAT_NODE-none}"`
	if got, want := q.sh(gat.JobSpec{}, show), "1 2 104857600 87000 none\n"; got != want {
		t.Errorf("a job finds %q, want %q", got, want)
	}
	if got, want := q.sh(gat.JobSpec{Resources: gat.Resources{Walltime: 10 * time.Minute}}, show), "2 2 104857600 600 none\n"; got != want {
		t.Errorf("a job with a wall time finds %q, want %q", got, want)
	}
	out := filepath.Join(q.dir, "out")
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "-c", "echo $GAT_JOB"}, Count: 3, Stderr: out})
	for _, id := range ids {
		q.until(id, gat.Done)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(text))
	slices.Sort(got)
	if want := []string{string(ids[0]), string(ids[1]), string(ids[2])}; !slices.Equal(got, want) {
		t.Errorf("tasks find the identifiers %q, want %q", got, want)
	}
}

// Files travel in the script, into a private directory that goes with the job.
func TestFiles(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	data := make([]byte, 200_000)
	rand.Read(data)
	scratch := filepath.Join(q.dir, "scratch dir")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(q.dir, "out")
	id := q.submit(gat.JobSpec{
		Argv:   []string{"./tool", "boot"},
		Stderr: out,
		Stdin:  []byte("secret"),
		Env:    []string{"COPY=" + filepath.Join(q.dir, "copy")},
		Files: []gat.JobFile{
			{Name: "tool", Mode: 0o755, Data: []byte("#!/bin/sh\nls -ln | sed 1d | cut -c1-10; ls -ld . | cut -c1-10; pwd; cat; cat \"$1\" >\"$COPY\"; ls -A | wc -l; exit 5\n")},
			{Name: "boot", Mode: 0o600, Data: data},
		},
	})[0]
	st := q.until(id, gat.Failed)
	if st.Exit != 5 {
		t.Errorf("the job is %v, want exit status 5", st)
	}
	if got, err := os.ReadFile(filepath.Join(q.dir, "copy")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file arrives with %d bytes (%v), want the %d sent", len(got), err, len(data))
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 5 || lines[0] != "-rw-------" || lines[1] != "-rwx------" || lines[2] != "drwx------" || !strings.HasPrefix(lines[4], "secret2") {
		t.Fatalf("the job sees %q", lines)
	}
	if _, err := os.Lstat(lines[3]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the job's directory %s is left: %v", lines[3], err)
	}
}

// Setup runs before the command, which inherits what it sets; a line that fails is
// the end, with a reason.
func TestSetup(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	got := q.sh(gat.JobSpec{Setup: []string{"X='it''s'", "export X", "f() {", "  Y=2; export Y", "}", "f", "#$ -q not.me"}}, `echo "$X $Y"`)
	if got != "its 2\n" {
		t.Errorf("the command finds %q", got)
	}
	for _, lines := range [][]string{{"false"}, {"exit 0"}, {"no-such-command"}, {"syntax error ("}} {
		st := q.until(q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Setup: lines})[0], gat.Failed, gat.Done)
		if st.State != gat.Failed {
			t.Errorf("after the setup %q the job is %v", lines, st)
		}
	}
	st := q.until(q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Setup: []string{"false"}})[0], gat.Failed)
	if !strings.Contains(st.Reason, "a line of setup failed") {
		t.Errorf("the reason is %q", st.Reason)
	}
	st = q.until(q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Dir: "/no/such"})[0], gat.Failed)
	if !strings.Contains(st.Reason, "working directory") {
		t.Errorf("the reason is %q", st.Reason)
	}
}

// Two hundred jobs are one submission and one cancellation.
func TestManyJobs(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "hold", "")
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}, Count: 200, Name: "many"})
	if len(ids) != 200 || ids[0] != "1_1" || ids[199] != "1_200" {
		t.Fatalf("%d identifiers from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
	found, err := q.Login.(gat.Finder).Find(t.Context(), "many")
	if err != nil || len(found) != 200 || found[1].ID != "1_2" {
		t.Fatalf("found by name are %d: %v", len(found), err)
	}
	if err := q.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	q.Remove(t, "hold")
	q.until(ids[199], gat.Cancelled)
	all, err := q.Status(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.State != gat.Cancelled {
			t.Errorf("a cancelled job is %v", st)
		}
	}
	if s, c := q.ran("sbatch"), q.ran("scancel"); s != 2 || c != 1 { // one sbatch tells the version
		t.Errorf("%d sbatch and %d scancel, want 2 and 1", s, c)
	}
}

// Jobs that are no array are submitted by one remote command all the same.
func TestSingles(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	out := filepath.Join(q.dir, "out")
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/cat"}, Stdin: []byte("x\n"), Count: 3, Stderr: out, Resources: gat.Resources{Shape: gat.Single}})
	if !slices.Equal(ids, []gat.JobID{"1", "2", "3"}) {
		t.Fatalf("identifiers are %q", ids)
	}
	for _, id := range ids {
		q.until(id, gat.Done)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "x\nx\nx\n" {
		t.Errorf("they write %q, %v", got, err)
	}
}

// A job of several nodes runs its command, with files, once on each.
func TestMulti(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	out := filepath.Join(q.dir, "out")
	id := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "./f"}, Stderr: out, Files: []gat.JobFile{{Name: "f", Mode: 0o600, Data: []byte("echo $GAT_JOB $GAT_NODE; exit 4\n")}},
		Resources: gat.Resources{Shape: gat.Multi, Nodes: 3}})[0]
	if st := q.until(id, gat.Failed, gat.Done); st.Exit != 4 {
		t.Errorf("the job is %v, want exit status 4", st)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(got)
	if want := []string{"1 0", "1 1", "1 2"}; !slices.Equal(got, want) {
		t.Errorf("the nodes say %q, want %q", got, want)
	}
}

// However many ask, and over however many logins, the queue is listed once an
// interval.
func TestOneListing(t *testing.T) {
	t.Parallel()
	q := open(t, time.Hour)
	q.Write(t, "hold", "")
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Count: 5})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			all, err := q.Status(t.Context(), ids[i%len(ids)])
			if err != nil || all[0].State != gat.Queued {
				t.Errorf("status is %v, %v", all, err)
			}
		})
	}
	wg.Wait()
	later := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}})
	if all, err := q.Status(t.Context(), later...); err != nil || all[0].State != gat.Queued {
		t.Errorf("a job younger than the listing is %v, %v, want queued", all, err)
	}
	if n := q.ran("squeue"); n != 1 {
		t.Errorf("%d listings, want 1", n)
	}
}

// shared is the memory that logins of several programs share.
type shared struct {
	mu     sync.Mutex
	answer []byte
	when   time.Time
	asked  int
}

func (s *shared) Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == 0 || time.Since(s.when) >= every {
		s.asked++
		answer, err := ask(ctx)
		if err != nil {
			return nil, time.Time{}, err
		}
		s.answer, s.when = answer, time.Now()
	}
	return s.answer, s.when, nil
}

func TestSharedListing(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "hold", "")
	polls := &shared{}
	var logins []gat.Login
	for range 3 {
		l, err := q.Backend.Open(t.Context(), gat.Target{Site: "s", URL: q.URL(), PollEvery: time.Hour, Polls: polls})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		logins = append(logins, l)
	}
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}})
	for _, l := range logins {
		if all, err := l.Status(t.Context(), ids...); err != nil || all[0].State != gat.Queued {
			t.Errorf("status is %v, %v", all, err)
		}
	}
	if n := q.ran("squeue"); n != 1 {
		t.Errorf("%d listings, want 1", n)
	}
}

// Listings that cannot be believed are errors of class Transient; no job ends by
// them.
func TestBadListings(t *testing.T) {
	t.Parallel()
	q := open(t, time.Nanosecond)
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})
	q.until(ids[0], gat.Running)
	for name, text := range map[string]string{
		"fails":     "1\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
		"times out": "1\nslurm_load_jobs error: Socket timed out on send/recv operation\n",
		"odd":       "3\nSegmentation fault\n",
		"silent":    "0\n",
	} {
		q.Write(t, "fault-squeue", text)
		if all, err := q.Status(t.Context(), ids...); gat.ClassOf(err) != gat.Transient || err == nil {
			t.Errorf("%s: %v, %v, want an error of class transient", name, all, err)
		}
	}
	q.Remove(t, "fault-squeue")
	if all, err := q.Status(t.Context(), ids...); err != nil || all[0].State != gat.Running {
		t.Errorf("afterwards: %v, %v", all, err)
	}
}

// A job that is not listed any more is looked up; only when nobody knows it is it
// unknown.
func TestVanished(t *testing.T) {
	t.Parallel()
	q := open(t, time.Nanosecond)
	id := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "-c", "exit 9"}})[0]
	if st := q.until(id, gat.Failed); st.Exit != 9 {
		t.Errorf("the job is %v, want exit status 9", st)
	}
	lookUps := q.ran("scontrol")
	for range 3 {
		q.until(id, gat.Failed)
	}
	if n := q.ran("scontrol"); n != lookUps {
		t.Errorf("what is known is looked up %d times more", n-lookUps)
	}
	q.Remove(t, filepath.Join("jobs", string(id)))
	if st := q.until(id, gat.Failed); st.Exit != 9 {
		t.Errorf("the job is %v after the queue forgot it", st)
	}
	if all, err := q.Status(t.Context(), "77", "78_1"); err != nil || all[0].State != gat.Unknown || all[1].State != gat.Unknown {
		t.Errorf("jobs of nobody are %v, %v", all, err)
	}
	held := q.submit(gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})[0]
	if err := q.Cancel(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	q.Remove(t, filepath.Join("jobs", string(held)))
	if st := q.until(held, gat.Cancelled, gat.Unknown); st.State != gat.Cancelled {
		t.Errorf("a job that was cancelled and vanished is %v", st)
	}
}

// Sites wrap the submit command.
func TestBanner(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "banner", "*** Welcome to the cluster of 2026 ***\n2026\nYour project has 12345 hours left.\n--- 77 ---\n")
	if ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}}); !slices.Equal(ids, []gat.JobID{"1"}) {
		t.Errorf("identifiers are %q", ids)
	}
	if ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Count: 2}); !slices.Equal(ids, []gat.JobID{"2_1", "2_2"}) {
		t.Errorf("identifiers are %q", ids)
	}
}

// What a site refuses, or would keep waiting for ever, is said in the same words,
// with the key of the sites file.
func TestRefusals(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	for want, r := range map[string]gat.Resources{
		`the queue "nope" is not there`:           {Queue: "nope"},
		"the wall time 3d is over the queue's":    {Walltime: 72 * time.Hour},
		"the wall time 2h is over the queue's":    {Walltime: 2 * time.Hour, Queue: "debug"},
		"there are no 8 nodes for one job (debug": {Shape: gat.Multi, Nodes: 8},
		`no node fulfils the constraint "gold"`:   {Queue: "short", Constraint: "gold"},
		"a flag or resource is not known":         {Native: []string{"--nonsense"}},
	} {
		ids, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: r})
		if gat.ClassOf(err) != gat.Invalid || len(ids) > 0 || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(err.Error(), "sites file") {
			t.Errorf("%+v: %q, %v, want class invalid and %q", r, ids, err, want)
		}
	}
	// The same from the scheduler itself, where the description did not tell.
	for said, want := range map[string]string{
		"sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)":                                         "the wall time 30m is over the queue's limit",
		"sbatch: error: Batch job submission failed: Node count specification invalid":                                                                        "there are no 2 nodes for one job",
		"sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified":                                              `the account "a" is not one`,
		"sbatch: error: Batch job submission failed: Invalid feature specification":                                                                           `no node fulfils the constraint "fast"`,
		"sbatch: error: invalid partition specified: short\nsbatch: error: Batch job submission failed: Invalid partition name specified":                     `the queue "debug" is not there`,
		"sbatch: error: Batch job submission failed: Requested node configuration is not available":                                                           "there are no 2 nodes for one job",
		"sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: Requested node configuration is not available": "MiB of memory",
	} {
		q.Write(t, "fault-sbatch", "1\n"+said+"\n")
		_, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Shape: gat.Multi, Nodes: 2, Walltime: 30 * time.Minute, Queue: "debug", Account: "a", Memory: 1 << 30}})
		if want == `no node fulfils the constraint "fast"` {
			_, err = q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Queue: "short", Constraint: "fast"}})
		}
		if gat.ClassOf(err) != gat.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q becomes %v, want class invalid and %q", said, err, want)
		}
	}
	for said, want := range map[string]gat.Class{
		"sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)":                                                                              gat.Transient,
		"sbatch: error: Batch job submission failed: Socket timed out on send/recv operation":                                                                                           gat.Transient,
		"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)": gat.Transient,
		"sbatch: error: Batch job submission failed: Access/permission denied":                                                                                                          gat.Denied,
		"sbatch: error: something new": gat.Permanent,
	} {
		q.Write(t, "fault-sbatch", "1\n"+said+"\n")
		if _, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != want || err == nil {
			t.Errorf("%q becomes %v of class %v, want %v", said, err, gat.ClassOf(err), want)
		}
	}
}

// A site that does not describe itself takes jobs all the same; one whose scheduler is
// down does not.
func TestNoDescription(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "fault-sinfo", "1\nslurm_load_partitions error: Unable to contact slurm controller (connect failure)\n")
	if _, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != gat.Transient || err == nil {
		t.Errorf("with the controller down: %v", err)
	}
	q.Write(t, "fault-sinfo", "1\nsinfo is not for users here\n")
	q.until(q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Queue: "anything"}})[0], gat.Done)
}

// A cancellation that is refused is an error, unless the jobs were gone.
func TestRefusedCancel(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	if err := q.Cancel(t.Context(), "77", "78_3", "no job"); err != nil {
		t.Errorf("cancelling nobody's jobs: %v", err)
	}
	q.Write(t, "fault-scancel", "1\nscancel: error: Kill job error on job id 77: Access/permission denied\n")
	if err := q.Cancel(t.Context(), "77"); gat.ClassOf(err) != gat.Denied || !strings.Contains(err.Error(), "Access/permission denied") {
		t.Errorf("a refused cancellation: %v", err)
	}
}

// A script that is longer than the scheduler takes is not sent.
func TestLongScript(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	data := make([]byte, 4<<20)
	rand.Read(data)
	_, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"./f"}, Files: []gat.JobFile{{Name: "f", Mode: 0o700, Data: data}}})
	if gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), "the key shared") {
		t.Errorf("a long script: %v", err)
	}
}

// What gzip packs too large for the scheduler, xz of the host may not.
func TestPressedFile(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz here")
	}
	q := open(t, 0)
	half := make([]byte, 1<<21)
	rand.Read(half)
	data := slices.Concat(half, half)
	if err := os.WriteFile(filepath.Join(q.dir, "copy"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "-c", "cmp f \"$COPY\""}, Env: []string{"COPY=" + filepath.Join(q.dir, "copy")}, Files: []gat.JobFile{{Name: "f", Mode: 0o600, Data: data}}})[0]
		if st := q.until(id, gat.Done, gat.Failed); st.State != gat.Done {
			t.Errorf("the job is %v", st)
		}
	}
}

// Without its commands a host is no head node, and says so.
func TestNoScheduler(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	d := slurm.Dialect()
	d.Tool = "no-such-sbatch"
	f := batchtest.Slurm(t, d, local.Backend{})
	l := f.Open(t)
	defer l.Close()
	_, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}})
	if gat.ClassOf(err) != gat.Permanent || !strings.Contains(fmt.Sprint(err), "is this a host from which Slurm jobs are submitted?") {
		t.Errorf("without commands: %v", err)
	}
	if _, err := l.(gat.Headed).Head().(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"/bin/true"}}); err != nil {
		t.Errorf("the host itself: %v", err)
	}
	_ = q
}
