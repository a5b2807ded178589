package batch_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

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
	found, err := q.Login.(gat.Finder).Find(t.Context(), "many", time.Time{})
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

// A site's own limit of scripts counts, whether it is lower or higher than usual.
func TestSiteScriptLimit(t *testing.T) {
	t.Parallel()
	for limit, taken := range map[string]bool{"200000": false, "300000": true, "8388608": true} {
		q := open(t, 0)
		q.Write(t, "hold", "")
		q.Write(t, "config", "SchedulerParameters     = bf_continue,max_script_size="+limit+",default_queue_depth=100\n")
		data := make([]byte, 200_000)
		if len(limit) > 6 {
			data = make([]byte, 5_000_000)
		}
		rand.Read(data)
		ids, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"./f"}, Files: []gat.JobFile{{Name: "f", Mode: 0o700, Data: data}}})
		if taken && (err != nil || len(ids) != 1) || !taken && (gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), "the key shared")) {
			t.Errorf("%d bytes, and a script may have %s: %v", len(data), limit, err)
		}
		q.Cancel(t.Context(), ids...)
	}
}

// What is too long for the scheduler in base64 is sent in denser text. The host's xz, or
// any other tool that few have, is not asked.
func TestDenseFile(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	data := make([]byte, 3_200_000)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(q.dir, "copy"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	id := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "-c", "cmp f \"$COPY\""}, Env: []string{"COPY=" + filepath.Join(q.dir, "copy")}, Files: []gat.JobFile{{Name: "f", Mode: 0o600, Data: data}}})[0]
	if st := q.until(id, gat.Done, gat.Failed); st.State != gat.Done {
		t.Errorf("the job is %v", st)
	}
}
