package sge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/gat"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	return batchtest.Recorded(t, "testdata/8.1.9.txtar", name)
}

func TestStates(t *testing.T) {
	t.Parallel()
	d := sge.Dialect()
	for name, want := range map[string]map[gat.JobID]gat.JobStatus{
		"qstat": {
			"2":   {State: gat.Running, Exit: -1},
			"9":   {State: gat.Queued, Exit: -1},
			"14":  {State: gat.Held, Exit: -1, Reason: "Eqw"},
			"5":   {State: gat.Held, Exit: -1, Reason: "hqw"},
			"999": {},
		},
		"tasks": {
			"24.1": {State: gat.Running, Exit: -1},
			"24.2": {State: gat.Running, Exit: -1},
			"24.3": {State: gat.Queued, Exit: -1},
			"24.8": {State: gat.Queued, Exit: -1},
			"24.9": {},
			"24":   {},
			"23":   {State: gat.Running, Exit: -1},
		},
		"full":     {"2": {State: gat.Running, Exit: -1}, "9": {State: gat.Queued, Exit: -1}},
		"extended": {"2": {State: gat.Running, Exit: -1}, "17": {State: gat.Running, Exit: -1}},
	} {
		text := recorded(t, name)
		l, err := d.States("a banner\n" + text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		batchtest.Expect(t, l, want)
		for n := 0; n < len(strings.TrimSpace(text)); n += 41 { // cut off anywhere, it is no listing
			if _, err := d.States(text[:n]); err == nil {
				t.Errorf("%s: the first %d bytes are a listing", name, n)
				break
			}
		}
	}
	if _, err := d.States("<?xml version='1.0'?>\n<unknown_jobs >\n<ST_name>1</ST_name>\n</unknown_jobs>\n"); err == nil {
		t.Error("what is about unknown jobs is a listing")
	}
}

func TestLetters(t *testing.T) {
	t.Parallel()
	for letters, want := range map[string]gat.State{
		"qw": gat.Queued, "hqw": gat.Held, "hRwq": gat.Held, "Rq": gat.Queued, "r": gat.Running, "t": gat.Running, "Rr": gat.Running, "hr": gat.Running,
		"s": gat.Running, "S": gat.Running, "T": gat.Running, "ts": gat.Running, "Eqw": gat.Held, "Ehqw": gat.Held, "EhRqw": gat.Held, "dr": gat.Running, "dqw": gat.Queued,
	} {
		l, err := sge.Dialect().States("<job_info><queue_info><job_list><JB_job_number>1</JB_job_number><state>" + letters + "</state></job_list></queue_info></job_info>")
		if err != nil {
			t.Errorf("%s: %v", letters, err)
		} else if st, _ := l.Find("1"); st.State != want {
			t.Errorf("%s is %v, want %v", letters, st, want)
		}
	}
	for _, letters := range []string{"", "x", "q w", "7"} {
		if _, err := sge.Dialect().States("<job_info><queue_info><job_list><JB_job_number>1</JB_job_number><state>" + letters + "</state></job_list></queue_info></job_info>"); err == nil {
			t.Errorf("%q is a state", letters)
		}
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	l, err := sge.Dialect().Accounts(recorded(t, "accounts"))
	if err != nil {
		t.Fatal(err)
	}
	batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{
		"14":   {State: gat.Held, Exit: -1, Reason: `Eqw: 11/22/2026 11:44:22 [1000:380]: error: can't open output file "/no/such/dir/x": No such file or directory`},
		"1":    {State: gat.Done},
		"12":   {State: gat.Failed, Exit: 7},
		"22":   {State: gat.Failed, Exit: 137, Reason: "failed 100 : assumedly after job"},
		"4.2":  {State: gat.Done},
		"4":    {},
		"1234": {},
	})
}

// How a task ended that somebody started in a job says nothing of the job, whose own
// record may come later.
func TestTaskRecords(t *testing.T) {
	t.Parallel()
	record := func(pe, asked, from, to, failed, exit string) string {
		return fmt.Sprintf(`==============================================================
jobname      real
jobnumber    1
taskid       undefined
qsub_time    Sun Nov 22 23:26:%s 2026
start_time   Sun Nov 22 23:26:%s 2026
end_time     Sun Nov 22 23:26:%s 2026
granted_pe   %s
failed       %s
exit_status  %s
`, asked, from, to, pe, failed, exit)
	}
	task := record("smp", "11", "12", "13", "0    ", "0                   ")
	own := record("smp", "09", "10", "15", "100 : assumedly after job", "137                  (Killed)")
	killed := gat.JobStatus{State: gat.Failed, Exit: 137, Reason: "failed 100 : assumedly after job"}
	for text, want := range map[string]gat.JobStatus{
		task:              {},
		task + task:       {},
		own:               killed,
		task + own:        killed,
		own + task + task: killed,
		record("NONE", "11", "11", "12", "0", "0"):                                            {State: gat.Done}, // it started at once
		record("smp", "01", "11", "12", "0", "0"):                                             {State: gat.Done}, // it waited for long
		record("smp", "09", "10", "15", "0", "0") + record("smp", "11", "11", "12", "0", "9"): {State: gat.Done},
		record("smp", "11", "11", "12", "0", "9") + record("smp", "09", "10", "15", "0", "3"): {State: gat.Failed, Exit: 3},
	} {
		l, err := sge.Dialect().Accounts("== job 1\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		batchtest.Expect(t, l, map[gat.JobID]gat.JobStatus{"1": want})
	}
}

func submitted(t *testing.T, f *batch.Facts, r gat.Resources) (string, error) {
	t.Helper()
	r.Nodes = max(r.Nodes, 1)
	argv, err := sge.Dialect().Submit(&batch.Job{Name: "n", Count: 1, Spec: gat.JobSpec{Resources: r}, Facts: f})
	return strings.Join(argv, " "), err
}

// Parallel environments and resources are chosen by what they do, not by their names.
func TestChoices(t *testing.T) {
	t.Parallel()
	site := func(resources string) *batch.Facts {
		f, err := sge.Dialect().Facts(`== version
UGE 8.6.18
== load
CLUSTER QUEUE                   CQLOAD   USED    RES  AVAIL  TOTAL aoACDS  cdsuE
--------------------------------------------------------------------------------
all.q                             0.10      1      0      5      6      0      0
old.q                             -NA-      0      0      6      0      6
== queues
qname                 all.q
pe_list               mpi whole fixed4 onepernode
h_rt                  24:00:00
qname                 old.q
pe_list               make
h_rt                  INFINITY
== environments
pe_name            mpi
allocation_rule    $fill_up
control_slaves     TRUE
pe_name            whole
allocation_rule    $pe_slots
control_slaves     FALSE
pe_name            fixed4
allocation_rule    4
control_slaves     TRUE
pe_name            onepernode
allocation_rule    1
control_slaves     TRUE
pe_name            unused
allocation_rule    $pe_slots
control_slaves     TRUE
== resources
#name               shortcut   type      relop   requestable consumable default  urgency
` + resources + `
== nodes
e1
== config
enforce_project              true
== end
`)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := site("mem_free mf MEMORY <= YES YES 0 0\nh_vmem h_vmem MEMORY <= YES NO 0 0\ngpu g INT <= YES YES 0 0\nwhole_host w BOOL EXCL YES YES 0 0")
	if f.Info.Version != "8.6.18" || !f.Info.AccountNeeded || f.Info.Queues[0].FreeSlots != 5 || f.Info.Queues[0].MaxWalltime != 24*time.Hour || f.Info.Queues[1].Usable {
		t.Errorf("the site is %+v", f.Info)
	}
	for want, r := range map[string]gat.Resources{
		"-pe whole 3":                     {Cores: 3},
		"-pe whole 4":                     {Cores: 4},
		"-pe fixed4 8":                    {Cores: 4, Nodes: 2, Shape: gat.Multi},
		"-pe onepernode 5":                {Cores: 1, Nodes: 5, Shape: gat.Multi},
		"-l mem_free=512M":                {Memory: 1 << 30, Cores: 2},
		"-l gpu=2":                        {GPUs: 2},
		"-l whole_host=true":              {Exclusive: true},
		"-l h_rt=600 -l s_rt=540":         {Walltime: 10 * time.Minute, Warning: time.Minute},
		"-w e":                            {},
		"-q all.q -P phys -l a=b -pe x 1": {Queue: "all.q", Account: "phys", Cores: 9, Native: []string{"-l a=b", "-pe x 1"}},
	} {
		if got, err := submitted(t, f, r); err != nil || !strings.Contains(got, want) {
			t.Errorf("%+v: %q, %v, want %q", r, got, err, want)
		}
	}
	for want, r := range map[string]gat.Resources{
		"$pe_slots":      {Cores: 2, Queue: "old.q"},
		"control_slaves": {Cores: 3, Nodes: 2, Shape: gat.Multi},
	} {
		if got, err := submitted(t, f, r); gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "native") {
			t.Errorf("%+v: %q, %v, want an error with %q", r, got, err, want)
		}
	}
	bare := site("arch a RESTRING == YES NO NONE 0")
	for _, r := range []gat.Resources{{GPUs: 1}, {Exclusive: true}} {
		if got, err := submitted(t, bare, r); gat.ClassOf(err) != gat.Invalid {
			t.Errorf("%+v: %q, %v, want an error of class invalid", r, got, err)
		}
	}
	if got, err := submitted(t, site("h_vmem h MEMORY <= FORCED YES 0 0\nmem_free mf MEMORY <= YES YES 0 0"), gat.Resources{Memory: 1 << 20}); err != nil || !strings.Contains(got, "h_vmem=1M") {
		t.Errorf("a forced resource: %q, %v", got, err)
	}
	if got, err := submitted(t, site("mem_free mf MEMORY <= YES JOB 0 0"), gat.Resources{Memory: 1 << 30, Cores: 4}); err != nil || !strings.Contains(got, "mem_free=1024M") {
		t.Errorf("a resource of the whole job: %q, %v", got, err)
	}
}

func TestNamesAndCancellation(t *testing.T) {
	t.Parallel()
	d := sge.Dialect()
	for name, want := range map[string]string{"ok": "ok", "1bad": "j1bad", "-x": "j-x", ".x": "j.x", "none": "jnone"} {
		if got := d.JobName(name); got != want {
			t.Errorf("the name %q becomes %q, want %q", name, got, want)
		}
	}
	text := strings.Join(d.Cancel([]gat.JobID{"5", "7.1", "7.3", "7.2", "9.4"}), " ")
	for _, want := range []string{"qdel 5 ", "qdel 7 -t 1-3 ", "qdel 9 -t 4-4 "} {
		if !strings.Contains(text, want) {
			t.Errorf("the cancellation %q lacks %q", text, want)
		}
	}
	for out, want := range map[string][]gat.JobID{
		"22\n":         {"22"},
		"24.1-8:1\n":   {"24"},
		"hello\n7 x\n": nil,
		"Your job 1 (\"pilot\") has been submitted\n": {"1"},
	} {
		if got := d.IDs(out, &batch.Job{Count: 1}); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", out, got, want)
		}
	}
	if got := d.IDs("Your job-array 4.1-4:1 (\"arr.sh\") has been submitted\n", &batch.Job{Count: 2}); !slices.Equal(got, []gat.JobID{"4.1", "4.2"}) {
		t.Errorf("an array gives %q", got)
	}
}

// Whatever is printed, the parsers give jobs of this system's form or an error.
func FuzzParsers(f *testing.F) {
	for _, name := range []string{"qstat", "tasks", "full", "accounts"} {
		f.Add(recorded(f, name))
	}
	f.Add("== load\nall.q 0.1 1 0 5 6 0 0\n== queues\nqname all.q\nh_rt 1:0:0\n== environments\npe_name x\n== resources\na b c d e f\n== nodes\n== config\nmax_aj_tasks 5\n== end\n")
	f.Fuzz(func(t *testing.T, text string) { batchtest.Parse(t, sge.Dialect(), text) })
}
