package pbs_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/gat"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	return batchtest.Recorded(t, "testdata/23.06.txtar", name)
}

// listing is what list.sh prints of a text of qstat -f.
func listing(text string) string {
	var ids strings.Builder
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(line, "Job Id: "); ok {
			ids.WriteString(id)
		}
	}
	return "== ids\n" + ids.String() + "== jobs\n" + text + "== gone\n== end\n"
}

func TestStates(t *testing.T) {
	t.Parallel()
	d := pbs.Dialect()
	never := gat.JobStatus{State: gat.Held, Exit: -1, Reason: "Can Never Run: Insufficient amount of resource: ncpus (R: 16 A: 4 T: 4)"}
	held := gat.JobStatus{State: gat.Held, Exit: -1, Reason: "held (Hold_Types = u)"}
	for name, want := range map[string]map[gat.JobID]gat.JobStatus{
		"full":  {"1.pbs0": never, "2.pbs0": held, "4.pbs0": {State: gat.Running, Exit: -1}, "5[].pbs0": {}, "9999.pbs0": {}},
		"tasks": {"1.pbs0": never, "5[1].pbs0": {State: gat.Done}, "5[2].pbs0": {State: gat.Running, Exit: -1}, "5[].pbs0": {}, "8.pbs0": {State: gat.Running, Exit: -1}},
	} {
		text := recorded(t, name)
		l, err := d.States(listing(text))
		if err != nil {
			t.Fatal(err)
		}
		batchtest.Expect(t, l, want)
		if l.Names["2.pbs0"] != "held" {
			t.Errorf("names are %q", l.Names)
		}
		whole := strings.TrimSuffix(listing(text), "\n")
		for n := range len(whole) {
			if _, err := d.States(whole[:n]); err == nil {
				t.Errorf("%s: the first %d bytes are a listing", name, n)
				break
			}
		}
	}
	if _, err := d.States("== ids\n7.pbs0\n== jobs\n== gone\n== end\n"); err == nil {
		t.Error("a job that qselect has and qstat has not is gone")
	}
	if l, err := d.States("== ids\n7.pbs0\n== jobs\n== gone\nqstat: 7.pbs0 Job has finished, use -x or -H to obtain historical job information\n== end\n"); err != nil || len(l.Jobs) > 0 {
		t.Errorf("a job that ended between the two: %v, %v", l, err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	l, err := pbs.Dialect().Accounts(recorded(t, "history"))
	if err != nil {
		t.Fatal(err)
	}
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{
		"0.pbs0": {State: gat.Done},
		"3.pbs0": {State: gat.Failed, Exit: 7, Reason: "Job run at Sun Nov 22 at 11:45 on (p1:ncpus=1) and failed"},
		"4.pbs0": {State: gat.Failed, Exit: -1, Reason: "Job run at Sun Nov 22 at 11:45 on (p2:ncpus=1) and exceeded resource walltime"},
		"9.pbs0": {State: gat.Cancelled, Exit: -1, Reason: "Not Running: Not enough free nodes available and terminated"},
	})
	l, err = pbs.Dialect().Accounts("Job Id: 7.pbs0\n    job_state = F\n    Exit_status = 265\n")
	if err != nil {
		t.Fatal(err)
	}
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{"7.pbs0": {State: gat.Failed, Exit: 137}})
}

func TestSubmission(t *testing.T) {
	t.Parallel()
	d := pbs.Dialect()
	argv, err := d.Submit(&batch.Job{Name: "n", Count: 3, Spec: gat.JobSpec{Resources: gat.Resources{Nodes: 2, Cores: 4, GPUs: 1, Memory: 1 << 30, Walltime: 90 * time.Minute, Queue: "q", Account: "a", Constraint: "arch=x", Exclusive: true, Native: []string{"-W x=y"}}}})
	want := "qsub -N n -S /bin/sh -o /dev/null -e /dev/null -j oe -J 1-3 -l select=2:ncpus=4:ngpus=1:mem=1024mb:arch=x -l place=scatter:exclhost -l walltime=01:30:00 -q q -A a -W x=y"
	if got := strings.Join(argv, " "); err != nil || got != want {
		t.Errorf("submit is\n%s, want\n%s (%v)", got, want, err)
	}
	long := strings.Repeat("x", 300)
	if got := d.JobName(long); len(got) != 230 || d.JobName(long+"y") == got {
		t.Errorf("a long name becomes %q", got)
	}
	old := &batch.Facts{Info: gat.QueueInfo{Version: "11.3.0"}}
	if argv, _ := d.Submit(&batch.Job{Name: "zorilla-0123456789", Count: 1, Spec: gat.JobSpec{Resources: gat.Resources{Nodes: 1}}, Facts: old}); argv[2] != "zorilla-0123456" {
		t.Errorf("an old version gets the name %q", argv[2])
	}
	for out, want := range map[string][]gat.JobID{"banner\n3.pbs0\n": {"3.pbs0"}, "12345\n": nil, "v1.2.3 of the site\n": nil} {
		if got := d.IDs(out, &batch.Job{Count: 1}); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", out, got, want)
		}
	}
}

// Torque has commands of the same names.
func TestTorque(t *testing.T) {
	t.Parallel()
	if _, err := pbs.Dialect().Facts("== version\nVersion: 6.1.2\n== server\n== queues\n== end\n"); gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), "Torque") {
		t.Errorf("Torque: %v", err)
	}
}

// So has Grid Engine, and the other way round.
func TestOtherSystem(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	for want, f := range map[string]*batchtest.Fake{
		"begin the URL with sge+": batchtest.SGE(t, pbs.Dialect(), local.Backend{}),
		"begin the URL with pbs+": batchtest.PBS(t, sge.Dialect(), local.Backend{}),
	} {
		l := f.Open(t)
		defer l.Close()
		if _, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != gat.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("another system: %v, want class invalid and %q", err, want)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	f := fake(t)
	l := f.Open(t)
	defer l.Close()
	got, err := l.(gat.Describer).Describe(t.Context())
	want := gat.QueueInfo{Scheduler: "PBS", Version: "23.06.06", Nodes: []string{"p1", "p2"}, Queues: []gat.QueueState{
		{Name: "workq", Default: true, MaxWalltime: 24 * time.Hour, Nodes: 2, FreeSlots: 1, Slots: 4, State: "started", Usable: true},
		{Name: "closed", Nodes: 2, FreeSlots: 1, Slots: 4, State: "disabled", Why: "takes no jobs"},
	}, Notes: []string{"What is known of PBS is from recorded answers of OpenPBS 23.06; it has met no real one."}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// Whatever is printed, the parsers give jobs of this system's form or an error.
func FuzzParsers(f *testing.F) {
	for _, name := range []string{"full", "tasks", "history"} {
		f.Add(listing(recorded(f, name)))
	}
	f.Add("== version\npbs_version = 23.06.06\n== server\nServer: pbs0\n    default_queue = workq\n== queues\nQueue: workq\n    enabled = True\n== nodes\np1\nstate free\n== groups\n== end\n")
	f.Fuzz(func(t *testing.T, text string) { batchtest.Parse(t, pbs.Dialect(), text) })
}
