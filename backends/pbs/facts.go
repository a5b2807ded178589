package pbs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

var (
	versionForm = regexp.MustCompile(`pbs_version = ([0-9A-Za-z.]+)`)
	torqueForm  = regexp.MustCompile(`(?i)^version: *[0-9]`)
	heading     = regexp.MustCompile(`^(?:Queue|Server): (\S+)$`)
)

// facts reads what probe.sh prints.
func facts(out string) (*batch.Facts, error) {
	s := sections(out)
	if other := s["other"]; len(other) > 0 {
		return nil, &gat.Error{Class: gat.Invalid, Op: "describe", Err: fmt.Errorf("this is Grid Engine, not PBS: qstat says %.100q", other[0]), Hint: "begin the URL with sge+"}
	}
	for _, line := range s["version"] {
		if torqueForm.MatchString(line) {
			return nil, &gat.Error{Class: gat.Invalid, Op: "describe", Err: errors.New("this is Torque, not PBS Professional: " + strings.TrimSpace(line)),
				Hint: "describe it with a [dialect.NAME] table in the sites file; there is an example for Torque"}
		}
	}
	if s["server"] == nil || s["queues"] == nil || s["end"] == nil {
		return nil, errors.New("parts of the description are missing")
	}
	f := &batch.Facts{}
	f.Info.Notes = []string{"What is known of PBS is from recorded answers of OpenPBS 23.06; it has met no real one."}
	if m := versionForm.FindStringSubmatch(strings.Join(s["version"], "\n")); m != nil {
		f.Info.Version = m[1]
	}
	def := ""
	for _, server := range things(s["server"]) {
		if q := server["default_queue"]; q != "" {
			def = q
		}
		if n, ok := batch.Number(server["max_array_size"]); ok {
			f.MaxTasks = n
		}
	}
	nodes, slots, free := machines(f, s["nodes"])
	groups := strings.Fields(strings.Join(s["groups"], " "))
	for _, a := range things(s["queues"]) {
		q := gat.QueueState{Name: a["name"], Default: a["name"] == def, Nodes: nodes, Slots: slots, FreeSlots: free}
		if d, ok := batch.ParseWalltime(a["resources_max.walltime"], time.Second); ok {
			q.MaxWalltime = d
		}
		enabled, started := a["enabled"] == "True", a["started"] == "True"
		q.Usable = enabled && started
		switch {
		case !enabled:
			q.State, q.Why = "disabled", "takes no jobs"
		case !started:
			q.State, q.Why = "stopped", "starts no jobs"
		default:
			q.State = "started"
		}
		if a["acl_group_enable"] == "True" && !slices.ContainsFunc(strings.Split(a["acl_groups"], ","), func(g string) bool { return slices.Contains(groups, strings.TrimSpace(g)) }) {
			q.Usable, q.Why = false, "only for the groups "+a["acl_groups"]
		}
		f.Info.Queues = append(f.Info.Queues, q)
	}
	return f, nil
}

// things reads the text of qstat -Q -f and qstat -B -f: headings with attributes
// below them, folded lines put together.
func things(lines []string) []map[string]string {
	var all []map[string]string
	last := ""
	for _, line := range lines {
		if m := heading.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			all, last = append(all, map[string]string{"name": m[1]}), ""
			continue
		}
		if len(all) == 0 {
			continue
		}
		if m := attribute.FindStringSubmatch(line); m != nil {
			all[len(all)-1][m[1]], last = m[2], m[1]
		} else if rest, ok := strings.CutPrefix(line, "\t"); ok && last != "" {
			all[len(all)-1][last] += rest
		}
	}
	return all
}

// machines reads the nodes: a name, then what of it probe.sh lets through.
func machines(f *batch.Facts, lines []string) (nodes, slots, free int) {
	var up bool
	for _, line := range lines {
		key, value, has := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case key == "":
		case !has:
			nodes++
			if len(f.Info.Nodes) < batch.MaxNodeNames {
				f.Info.Nodes = append(f.Info.Nodes, key)
			}
		case key == "state":
			up = !strings.Contains(value, "down") && !strings.Contains(value, "offline") && !strings.Contains(value, "unknown")
		case key == "resources_available.ncpus":
			if n, ok := batch.Number(value); ok {
				slots += n
				if up {
					free += n
				}
			}
		case key == "resources_assigned.ncpus":
			if n, ok := batch.Number(value); ok && up {
				free -= min(n, free)
			}
		}
	}
	return nodes, slots, free
}
