package sge

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// own is what is known of a site beyond what other systems have.
type own struct {
	environments []environment
	resources    []resource
	known        bool // false: make up names
}

// environment is a parallel environment.
type environment struct {
	name   string
	rule   string // "$pe_slots", "$fill_up", "$round_robin" or a number
	slaves bool   // the job may start processes on its other hosts
	queues []string
}

// resource is a line of qconf -sc.
type resource struct {
	name, kind, relation, requestable, consumable string
}

// ownOf returns what is known, which may be nothing; without facts only a rendering
// is wanted.
func ownOf(f *batch.Facts) own {
	if f == nil {
		return own{}
	}
	o, _ := f.Own.(own)
	o.known = true
	return o
}

// environment chooses what puts a job's slots where they are wanted, and how many
// they are. A job of one core on one host needs none, unless it is to be entered.
func (o own) environment(r gat.Resources) (name string, slots int, err error) {
	multi := r.Shape == gat.Multi && r.Nodes > 1
	cores, nodes := max(r.Cores, 1), max(r.Nodes, 1)
	if cores == 1 && !multi && !r.Inside {
		return "", 1, nil
	}
	if !o.known { // a rendering
		return "PE", cores * nodes, nil
	}
	for _, e := range o.environments {
		if r.Queue != "" && !slices.Contains(e.queues, r.Queue) {
			continue
		}
		if r.Inside && !e.slaves {
			continue
		}
		fixed, isFixed := batch.Number(e.rule)
		switch {
		case multi && isFixed && e.slaves && fixed > 0 && (fixed == cores || r.Cores == 0):
			return e.name, fixed * nodes, nil
		case !multi && (e.rule == "$pe_slots" || isFixed && fixed == cores):
			return e.name, cores, nil
		}
	}
	what := fmt.Sprintf("%d cores on one host: it needs the allocation rule $pe_slots", cores)
	if r.Inside {
		what += " and control_slaves TRUE"
	}
	if multi {
		what = fmt.Sprintf("%d slots on each of %d hosts: it needs the allocation rule %d and control_slaves TRUE", cores, nodes, cores)
	}
	return "", 0, &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("no parallel environment gives %s", what),
		Hint: `name one yourself: native = ["-pe NAME SLOTS"] in the sites file`}
}

// memory names the resource that the site counts memory by, and whether an amount
// is for each slot.
func (o own) memory() (name string, eachSlot bool) {
	best := resource{name: "mem_free", consumable: "NO"}
	rank := -1
	for _, r := range o.resources {
		i := slices.Index([]string{"h_vmem", "h_rss", "virtual_free", "mem_free"}, r.name)
		if i < 0 || r.requestable == "NO" {
			continue
		}
		if r.consumable != "NO" {
			i += 10
		}
		if r.requestable == "FORCED" {
			i += 20
		}
		if r.name == "h_vmem" && r.consumable == "NO" && r.requestable != "FORCED" {
			continue // only a limit of address space
		}
		if i > rank {
			best, rank = r, i
		}
	}
	return best.name, best.consumable != "JOB"
}

func (o own) gpus() (string, error) {
	for _, name := range []string{"gpu", "gpus", "ngpus", "num_gpus", "nvidia_gpu", "cuda"} {
		if !o.known || slices.ContainsFunc(o.resources, func(r resource) bool { return r.name == name && r.requestable != "NO" }) {
			return name, nil
		}
	}
	return "", &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("the site has no resource for GPUs that is known by name"),
		Hint: `ask for it yourself: native = ["-l NAME=1"] in the sites file`}
}

func (o own) exclusive() (string, error) {
	if !o.known {
		return "exclusive", nil
	}
	for _, r := range o.resources {
		if r.relation == "EXCL" && r.requestable != "NO" {
			return r.name, nil
		}
	}
	return "", &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("the site has no resource for whole hosts (relation EXCL)"),
		Hint: "drop the key exclusive of the site in the sites file"}
}

var versionForm = regexp.MustCompile(`^(?:[A-Za-z(]+ ?)*([0-9]+(?:\.[0-9]+)*[a-z0-9_.-]*)`)

// facts reads what probe.sh prints.
func facts(out string) (*batch.Facts, error) {
	s := batch.Sections(out)
	if other := s["other"]; len(other) > 0 {
		return nil, &gat.Error{Class: gat.Invalid, Op: "describe", Err: fmt.Errorf("this is PBS, not Grid Engine: qstat says %.100q", other[0]), Hint: "begin the URL with pbs+"}
	}
	if s["load"] == nil || s["queues"] == nil || s["end"] == nil {
		return nil, errParts
	}
	f := &batch.Facts{}
	for _, line := range s["version"] {
		if m := versionForm.FindStringSubmatch(line); m != nil {
			f.Info.Version = m[1]
		}
	}
	var o own
	queues := records(s["queues"], "qname")
	for _, line := range s["load"] {
		if q, ok := load(line); ok {
			f.Info.Queues = append(f.Info.Queues, q)
		}
	}
	for _, q := range queues {
		i := slices.IndexFunc(f.Info.Queues, func(x gat.QueueState) bool { return x.Name == q["qname"] })
		if i < 0 {
			f.Info.Queues = append(f.Info.Queues, gat.QueueState{Name: q["qname"], Usable: true})
			i = len(f.Info.Queues) - 1
		}
		limit, _, _ := strings.Cut(q["h_rt"], ",")
		if d, ok := batch.ParseWalltime(limit, time.Second); ok {
			f.Info.Queues[i].MaxWalltime = d
		}
		if lists := q["user_lists"]; lists != "" && !strings.HasPrefix(lists, "NONE") {
			f.Info.Notes = append(f.Info.Notes, fmt.Sprintf("The queue %s is only for the user lists %s.", q["qname"], lists))
		}
	}
	for _, e := range records(s["environments"], "pe_name") {
		pe := environment{name: e["pe_name"], rule: e["allocation_rule"], slaves: strings.EqualFold(e["control_slaves"], "TRUE")}
		for _, q := range queues {
			if slices.Contains(strings.FieldsFunc(q["pe_list"], func(r rune) bool { return strings.ContainsRune(" ,[]=", r) }), pe.name) {
				pe.queues = append(pe.queues, q["qname"])
			}
		}
		if len(pe.queues) > 0 {
			o.environments = append(o.environments, pe)
		}
	}
	for _, line := range s["resources"] {
		if p := strings.Fields(line); len(p) >= 6 && !strings.HasPrefix(p[0], "#") {
			o.resources = append(o.resources, resource{p[0], p[2], p[3], p[4], p[5]})
		}
	}
	for _, line := range s["config"] {
		if p := strings.Fields(line); len(p) == 2 && p[0] == "enforce_project" {
			f.Info.AccountNeeded = strings.EqualFold(p[1], "true")
		} else if len(p) == 2 && p[0] == "max_aj_tasks" {
			f.MaxTasks, _ = batch.Number(p[1])
		}
	}
	f.Info.Nodes = s["nodes"][:min(len(s["nodes"]), batch.MaxNodeNames)]
	f.Own = o
	return f, nil
}

// records reads what qconf prints of several things: lines of a name and a value,
// each beginning with the line called first.
func records(lines []string, first string) []map[string]string {
	var all []map[string]string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		if name == first {
			all = append(all, make(map[string]string))
		}
		if len(all) > 0 {
			all[len(all)-1][name] = strings.TrimSpace(value)
		}
	}
	return all
}

// load reads a line of qstat -g c: NAME LOAD USED [RES] AVAIL TOTAL aoACDS cdsuE.
func load(line string) (gat.QueueState, bool) {
	p := strings.Fields(line)
	if len(p) < 7 {
		return gat.QueueState{}, false
	}
	n := len(p)
	free, ok1 := batch.Number(p[n-4])
	total, ok2 := batch.Number(p[n-3])
	bad, ok3 := batch.Number(p[n-1])
	if !ok1 || !ok2 || !ok3 {
		return gat.QueueState{}, false
	}
	q := gat.QueueState{Name: p[0], FreeSlots: free, Slots: total, State: "up", Usable: total > bad}
	if !q.Usable {
		q.State, q.Why = "down", fmt.Sprintf("%d of %d slots are disabled, unreachable or in error", bad, total)
	}
	return q, true
}
