package slurm

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

var (
	versionForm = regexp.MustCompile(`([0-9]+\.[0-9]+(?:\.[0-9A-Za-z-]+)*)`)
	setting     = regexp.MustCompile(`^([A-Za-z]+)\s*=\s*(.*)$`)
	scriptSize  = regexp.MustCompile(`(?:^|,)max_script_size=([0-9]+)`)
	assignment  = regexp.MustCompile(`(?:^| )([A-Za-z]+)=(\S*)`)
)

// facts reads what probe.sh prints.
func facts(out string) (*batch.Facts, error) {
	s := batch.Sections(out)
	if s["partitions"] == nil || s["accounts"] == nil {
		return nil, errors.New("parts of the description are missing")
	}
	f := &batch.Facts{Features: make(map[string][]string)}
	for _, line := range s["version"] {
		if m := versionForm.FindString(line); m != "" {
			f.Info.Version = m
		}
	}
	config := make(map[string]string)
	for _, line := range s["config"] {
		if m := setting.FindStringSubmatch(line); m != nil {
			config[m[1]] = m[2]
		}
	}
	if n, ok := batch.Number(config["MaxArraySize"]); ok && n > 1 {
		f.MaxTasks = n - 1
	}
	if m := scriptSize.FindStringSubmatch(config["SchedulerParameters"]); m != nil {
		f.MaxScript, _ = batch.Number(m[1])
	}
	f.Info.Accounts = s["accounts"]
	f.Info.Nodes = s["nodes"][:min(len(s["nodes"]), batch.MaxNodeNames)]
	for _, line := range s["partitions"] {
		if err := partition(f, line); err != nil {
			return nil, err
		}
	}
	for _, line := range s["features"] {
		name, list, ok := strings.Cut(line, "|")
		name = strings.TrimSuffix(name, "*")
		if !ok || list == "(null)" {
			continue
		}
		for feature := range strings.SplitSeq(list, ",") {
			if !slices.Contains(f.Features[name], feature) {
				f.Features[name] = append(f.Features[name], feature)
			}
		}
	}
	for _, line := range s["sizes"] {
		size(f, strings.Split(line, "|"))
	}
	permit(f, s["limits"], strings.Fields(strings.Join(s["groups"], " ")))
	if enforce := config["AccountingStorageEnforce"]; strings.Contains(enforce, "associations") && len(f.Info.Accounts) == 0 {
		f.Info.Notes = append(f.Info.Notes, "The accounting knows no account of this user.")
	}
	return f, nil
}

// partition reads a line "name*|up|1:00:00|A/I/O/T|A/I/O/T", of nodes and of cores.
func partition(f *batch.Facts, line string) error {
	p := strings.Split(line, "|")
	if len(p) != 5 {
		return errors.New("sinfo wrote " + line)
	}
	name, def := strings.CutSuffix(p[0], "*")
	q := gat.QueueState{Name: name, Default: def, State: p[1], Usable: p[1] == "up"}
	if !q.Usable {
		q.Why = "the partition is " + p[1]
	}
	if d, ok := batch.ParseWalltime(p[2], time.Minute); ok {
		q.MaxWalltime = d
	}
	var nodes, cores [4]int
	for i, text := range strings.SplitN(p[3], "/", 4) {
		nodes[i], _ = batch.Number(text)
	}
	for i, text := range strings.SplitN(p[4], "/", 4) {
		cores[i], _ = batch.Number(text)
	}
	q.Nodes, q.FreeSlots, q.Slots = nodes[3], cores[1], cores[3]
	if i := slices.IndexFunc(f.Info.Queues, func(o gat.QueueState) bool { return o.Name == name }); i >= 0 {
		o := &f.Info.Queues[i] // one line for each kind of its nodes
		o.Nodes, o.FreeSlots, o.Slots = o.Nodes+q.Nodes, o.FreeSlots+q.FreeSlots, o.Slots+q.Slots
		return nil
	}
	f.Info.Queues = append(f.Info.Queues, q)
	return nil
}

// size reads "name*|cores|MiB" of one kind of nodes.
func size(f *batch.Facts, p []string) {
	if len(p) != 3 {
		return
	}
	cores, ok1 := batch.Number(strings.TrimSuffix(p[1], "+"))
	mib, ok2 := batch.Number(strings.TrimSuffix(p[2], "+"))
	if !ok1 || !ok2 {
		return
	}
	if mib <= 1 {
		mib = 0 // what Slurm takes for a node that is described without
	}
	if f.Largest == nil {
		f.Largest = make(map[string]batch.Node)
	}
	name := strings.TrimSuffix(p[0], "*")
	n := f.Largest[name]
	f.Largest[name] = batch.Node{Cores: max(n.Cores, cores), Memory: max(n.Memory, int64(mib)<<20)}
}

// permit finds the partitions that do not take this user's jobs.
func permit(f *batch.Facts, limits []string, groups []string) {
	for _, line := range limits {
		p := make(map[string]string)
		for _, m := range assignment.FindAllStringSubmatch(line, -1) {
			p[m[1]] = m[2]
		}
		i := slices.IndexFunc(f.Info.Queues, func(q gat.QueueState) bool { return q.Name == p["PartitionName"] })
		if i < 0 || !f.Info.Queues[i].Usable {
			continue
		}
		q := &f.Info.Queues[i]
		switch {
		case !allows(p["AllowGroups"], groups):
			q.Usable, q.Why = false, "only for the groups "+p["AllowGroups"]
		case len(f.Info.Accounts) > 0 && !allows(p["AllowAccounts"], f.Info.Accounts):
			q.Usable, q.Why = false, "only for the accounts "+p["AllowAccounts"]
		}
	}
}

func allows(list string, mine []string) bool {
	if list == "" || list == "ALL" {
		return true
	}
	return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return slices.Contains(mine, s) })
}
