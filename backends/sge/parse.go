package sge

import (
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// jobInfo is what qstat -xml prints, in either of its schemas: they differ in name
// space and in fields that do not matter here.
type jobInfo struct {
	XMLName xml.Name
	Active  []jobList `xml:"queue_info>job_list"`
	Hosts   []struct {
		Jobs []jobList `xml:"job_list"`
	} `xml:"queue_info>Queue-List"`
	Waiting []jobList `xml:"job_info>job_list"`
}

type jobList struct {
	Number string `xml:"JB_job_number"`
	Name   string `xml:"JB_name"`
	State  string `xml:"state"` // the attribute of the same name is a translation
	Tasks  string `xml:"tasks"`
}

func states(out string) (*batch.Listing, error) {
	if i := strings.Index(out, "<?xml"); i > 0 {
		out = out[i:] // what a wrapper prints before
	}
	var info jobInfo
	if err := xml.Unmarshal([]byte(xmlText(out)), &info); err != nil {
		return nil, fmt.Errorf("qstat -xml: %w", err)
	}
	if info.XMLName.Local != "job_info" {
		return nil, fmt.Errorf("qstat -xml wrote a %q", info.XMLName.Local)
	}
	all := append(info.Active, info.Waiting...)
	for _, h := range info.Hosts {
		all = append(all, h.Jobs...)
	}
	var l batch.Listing
	for _, job := range all {
		id := strings.TrimSpace(job.Number)
		if m := idForm.FindStringSubmatch(id); m == nil || m[2] != "" {
			return nil, fmt.Errorf("qstat -xml wrote the job number %.40q", id)
		}
		st, err := state(strings.TrimSpace(job.State))
		if err != nil {
			return nil, err
		}
		if tasks := strings.TrimSpace(job.Tasks); tasks != "" {
			if err := addTasks(&l, id, tasks, job.Name, st); err != nil {
				return nil, err
			}
			continue
		}
		st.ID = gat.JobID(id)
		l.AddNamed(st, job.Name)
	}
	return &l, nil
}

// xmlText drops what no XML may hold: names of jobs are whatever users gave.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == '\uFFFE' || r == '\uFFFF' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// addTasks reads 3-8:1 and 1,5,7-9:2.
func addTasks(l *batch.Listing, id, tasks, name string, st gat.JobStatus) error {
	for part := range strings.SplitSeq(tasks, ",") {
		span, step, _ := strings.Cut(strings.TrimSpace(part), ":")
		first, last, is := strings.Cut(span, "-")
		if !is {
			last = first
		}
		r := batch.Range{Prefix: id + ".", Step: 1, Status: st, Name: name}
		var ok1, ok2 bool
		r.First, ok1 = batch.Number(first)
		r.Last, ok2 = batch.Number(last)
		if n, ok := batch.Number(step); ok {
			r.Step = n
		}
		if !ok1 || !ok2 {
			return fmt.Errorf("qstat -xml wrote the tasks %.80q", tasks)
		}
		l.Ranges = append(l.Ranges, r)
	}
	return nil
}

var stateForm = regexp.MustCompile(`^[a-zA-Z]{1,8}$`)

// state reads the letters: d deletion, E error, h hold, r running, R restarted, s S T
// suspended, t transferring, q queued, w waiting.
func state(letters string) (gat.JobStatus, error) {
	st := gat.JobStatus{Exit: -1}
	has := func(set string) bool { return strings.ContainsAny(letters, set) }
	switch {
	case !stateForm.MatchString(letters) || !has("dEhrRsSTtqwz"):
		return st, fmt.Errorf("qstat -xml wrote the state %.40q", letters)
	case has("E"):
		st.State, st.Reason = gat.Held, letters
	case has("sST"):
		st.State, st.Reason = gat.Running, letters+": suspended"
	case has("rt") || has("R") && !has("qw"):
		st.State = gat.Running
	case has("h"):
		st.State, st.Reason = gat.Held, letters
	default:
		st.State = gat.Queued
	}
	if has("d") {
		st.Reason = letters + ": being deleted"
	}
	return st, nil
}

// lookUps bounds the jobs asked about at once: each makes qacct read its whole file.
const lookUps = 50

// account looks for why jobs are in error, and for how they ended.
func account(ids []gat.JobID) string {
	var b strings.Builder
	seen := make(map[string]bool)
	for _, id := range ids {
		m := idForm.FindStringSubmatch(string(id))
		if m == nil || seen[m[1]] || len(seen) == lookUps {
			continue
		}
		seen[m[1]] = true
		fmt.Fprintf(&b, "echo '== job %[1]s'\nqstat -j %[1]s 2>/dev/null | grep -E '^(job_number|job-array tasks|error reason)'\nqacct -j %[1]s 2>/dev/null\n", m[1])
	}
	return b.String() + ":\n"
}

var reasonLine = regexp.MustCompile(`^error reason\s+([0-9]+):\s*(.*)$`)

// accounts reads what account prints.
func accounts(out string) (*batch.Listing, error) {
	var l batch.Listing
	job, array := "", false
	record := make(map[string]string)
	found := make(map[gat.JobID][]end)
	flush := func() {
		if e, ok := ended(record); ok {
			found[e.ID] = append(found[e.ID], e)
		}
		clear(record)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, " \r\n")
		if name, ok := strings.CutPrefix(line, "== job "); ok {
			flush()
			job, array = name, false
			continue
		}
		if strings.HasPrefix(line, "=====") {
			flush()
			continue
		}
		if strings.HasPrefix(line, "job-array tasks") {
			array = true
			continue
		}
		if m := reasonLine.FindStringSubmatch(line); m != nil {
			id := job
			if array {
				id += "." + m[1]
			}
			if idForm.MatchString(id) {
				l.Add(gat.JobStatus{ID: gat.JobID(id), State: gat.Held, Exit: -1, Reason: "Eqw: " + m[2]})
			}
			continue
		}
		if name, value, ok := strings.Cut(line, " "); ok && record[name] == "" {
			record[name] = strings.TrimSpace(value)
		}
	}
	flush()
	for id, ends := range found {
		// A job that is in error now has a record for each attempt.
		if st, ok := judge(ends); ok && l.Jobs[id].State != gat.Held {
			l.Add(st)
		}
	}
	return &l, nil
}

// ended reads one record of qacct.
func ended(r map[string]string) (e end, ok bool) {
	e.JobStatus, ok = howEnded(r)
	e.parallel = r["granted_pe"] != "" && r["granted_pe"] != "NONE"
	for name, at := range map[string]*time.Time{"qsub_time": &e.asked, "start_time": &e.from, "end_time": &e.to} {
		*at, _ = time.Parse(time.ANSIC, r[name])
	}
	return e, ok
}

func howEnded(r map[string]string) (gat.JobStatus, bool) {
	id := r["jobnumber"]
	if t := r["taskid"]; t != "" && t != "undefined" {
		id += "." + t
	}
	code, _, _ := strings.Cut(r["exit_status"], " ")
	exit, ok := batch.Number(code)
	if !ok || !idForm.MatchString(id) {
		return gat.JobStatus{}, false
	}
	st := gat.JobStatus{ID: gat.JobID(id), State: gat.Done, Exit: exit}
	failed, _, _ := strings.Cut(r["failed"], " ")
	if failed != "0" && failed != "" {
		st.State, st.Reason = gat.Failed, "failed "+r["failed"]
		if exit == 0 {
			st.Exit = -1
		}
	} else if exit != 0 {
		st.State = gat.Failed
	}
	return st, true
}

func worse(a, b gat.JobStatus) bool {
	return a.State > b.State || a.State == b.State && a.Exit > b.Exit
}

var errParts = errors.New("parts of the description are missing")
