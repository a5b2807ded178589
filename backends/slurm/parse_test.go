package slurm_test

import (
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	return batchtest.Recorded(t, "testdata/22.05.txtar", name)
}

func TestStates(t *testing.T) {
	t.Parallel()
	l, err := slurm.Dialect().States(recorded(t, "squeue"))
	if err != nil {
		t.Fatal(err)
	}
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{
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
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{
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
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{"1": {State: gat.Running, Exit: -1}, "5": {State: gat.Done}, "6_1": {State: gat.Running, Exit: -1}, "13": {}})
	if l, err = d.Accounts(recorded(t, "sacct")); err != nil {
		t.Fatal(err)
	}
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{
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
	f.Fuzz(func(t *testing.T, text string) { batchtest.Parse(t, slurm.Dialect(), text) })
}
