package slurm_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/22.05.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(text).Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("nothing recorded of %s", name)
	return ""
}

func expect(t *testing.T, l *batch.Listing, want map[gat.JobID]gat.JobStatus) {
	t.Helper()
	for id, w := range want {
		got, ok := l.Find(id)
		w.ID = id
		if ok != (w.State != gat.Unknown) || ok && got != w {
			t.Errorf("%s is %v (%v), want %v", id, got, ok, w)
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	l, err := slurm.Dialect().States(recorded(t, "squeue"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, l, map[gat.JobID]gat.JobStatus{
		"17":   {State: gat.Cancelled, Exit: -1, Reason: "CANCELLED"},
		"1":    {State: gat.Done},
		"6_3":  {State: gat.Done},
		"9":    {State: gat.Failed, Exit: -1, Reason: "NonZeroExitCode"},
		"3":    {State: gat.Held, Exit: -1, Reason: "PartitionNodeLimit: there are not so many nodes in the partition"},
		"4":    {State: gat.Held, Exit: -1, Reason: "PartitionTimeLimit: the wall time is over the partition's limit"},
		"7":    {State: gat.Held, Exit: -1, Reason: "JobHeldUser"},
		"10":   {State: gat.Running, Exit: -1},
		"18":   {State: gat.Failed, Exit: -1, Reason: "NODE_FAIL: NodeDown"},
		"19":   {State: gat.Failed, Exit: -1, Reason: "TIMEOUT: TimeLimit"},
		"20_2": {State: gat.Queued, Exit: -1},
		"20_3": {State: gat.Queued, Exit: -1},
		"20_4": {},
		"21":   {State: gat.Queued, Exit: -1, Reason: "BeginTime"},
		"22":   {State: gat.Held, Exit: -1, Reason: "(Job's account not known, so it can't use this partition (short allows physics))"},
		"23":   {State: gat.Failed, Exit: -1, Reason: "PREEMPTED"},
		"24":   {State: gat.Failed, Exit: -1, Reason: "OUT_OF_MEMORY: OutOfMemory"},
		"25":   {State: gat.Running, Exit: -1, Reason: "SUSPENDED"},
		"26":   {State: gat.Queued, Exit: -1},
		"99":   {},
	})
	if l.Names["25"] != "pilot 1" || l.Names["26"] != "a|b" {
		t.Errorf("names are %q", l.Names)
	}
}

func TestClusters(t *testing.T) {
	t.Parallel()
	d := slurm.Dialect()
	ids := []gat.JobID{"5;beta", "6_1;beta", "7"}
	if text := d.Status(ids); !strings.Contains(text, "squeue -r") || !strings.Contains(text, "squeue -M beta -r") {
		t.Errorf("the listing is %q", text)
	}
	l, err := d.States("JOBID|STATE|REASON|NAME\n7|RUNNING|None|n\nCLUSTER: beta\nJOBID|STATE|REASON|NAME\n5|PENDING|Priority|n\n6_1|RUNNING|None|n\n")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, l, map[gat.JobID]gat.JobStatus{
		"7": {State: gat.Running, Exit: -1}, "5;beta": {State: gat.Queued, Exit: -1, Reason: "Priority"}, "6_1;beta": {State: gat.Running, Exit: -1}, "5": {},
	})
	if text := strings.Join(d.Cancel(ids), " "); !strings.Contains(text, "scancel 7") || !strings.Contains(text, "scancel -M beta 5 6_1") {
		t.Errorf("the cancellation is %q", text)
	}
	if got := d.IDs("7;beta\n", &batch.Job{Count: 2}); got[0] != "7_1;beta" || got[1] != "7_2;beta" {
		t.Errorf("identifiers are %q", got)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	d := slurm.Dialect()
	l, err := d.Accounts(recorded(t, "scontrol"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, l, map[gat.JobID]gat.JobStatus{"1": {State: gat.Running, Exit: -1}, "5": {State: gat.Done}, "6_1": {State: gat.Running, Exit: -1}, "13": {}})
	if l, err = d.Accounts(recorded(t, "sacct")); err != nil {
		t.Fatal(err)
	}
	expect(t, l, map[gat.JobID]gat.JobStatus{
		"6_1":  {State: gat.Done},
		"9":    {State: gat.Failed, Exit: 7, Reason: "FAILED"},
		"17":   {State: gat.Cancelled, Exit: -1, Reason: "CANCELLED by 1000"},
		"18":   {State: gat.Failed, Exit: -1, Reason: "NODE_FAIL"},
		"30":   {State: gat.Failed, Exit: 137, Reason: "FAILED"},
		"31_5": {State: gat.Queued, Exit: -1},
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	d := slurm.Dialect()
	for version, want := range map[string]string{"": "--gpus-per-node=2", "18.08.1": "--gres=gpu:2", "19.05.0": "--gpus-per-node=2", "22.05.8": "--gpus-per-node=2", "odd": "--gpus-per-node=2"} {
		argv, err := d.Submit(&batch.Job{Name: "n", Count: 1, Spec: gat.JobSpec{Resources: gat.Resources{GPUs: 2, Nodes: 1}}, Facts: &batch.Facts{Info: gat.QueueInfo{Version: version}}})
		if err != nil || !strings.Contains(strings.Join(argv, " "), want) {
			t.Errorf("version %q: %q, %v, want %s", version, argv, err, want)
		}
	}
}

// Whatever is printed, the parsers give jobs of this system's form or an error.
func FuzzParsers(f *testing.F) {
	for _, name := range []string{"squeue", "scontrol", "sacct"} {
		f.Add(recorded(f, name))
	}
	f.Add("== version\nslurm 22.05.8\n== partitions\ndebug*|up|1:00:00|1/3/0/4|2/6/0/8\n== features\ndebug*|a,b\n== nodes\nn1\n== config\nMaxArraySize = 1001\n== groups\nx\n== accounts\n")
	f.Fuzz(func(t *testing.T, text string) {
		d := slurm.Dialect()
		for _, parse := range []func(string) (*batch.Listing, error){d.States, d.Accounts} {
			l, err := parse(text)
			if err != nil {
				continue
			}
			for id := range l.Jobs {
				if !d.ID(id) && !strings.Contains(string(id), ";") {
					t.Errorf("%q gives the job %q", text, id)
				}
			}
			l.Find("6_1")
		}
		d.Facts(text)
		for _, id := range d.IDs(text, &batch.Job{Count: 2}) {
			if !d.ID(id) {
				t.Errorf("%q gives the identifier %q", text, id)
			}
		}
	})
}
