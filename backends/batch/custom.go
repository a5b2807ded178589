package batch

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// CustomConfig describes a queueing system in texts, for those that have no dialect
// of their own. Submit, Status and Cancel are lines of sh with places in braces:
//
//	{script}    a file with the job's script, gone after Submit; without it the
//	            script is on standard input
//	{ids}       identifiers with spaces between, {ids_comma} with commas
//	{user}      the user's name at the host
//	{name} {count} {nodes} {cores} {gpus} {queue} {account} {constraint}
//	{walltime_s} {walltime_m} {walltime_hm} {walltime_hms}
//	{memory_kb} {memory_mb} {memory_gb}
//	{native}    the user's own flags
//
// A place whose value is not given is empty; {queue:-q %s} is the text after the
// colon with the value in it, or nothing without a value; {count:...} is nothing for
// one job. Values hold letters,
// digits and _.,:/@=+*- only, so that they mean the same wherever they stand in a
// line; others are refused. Put {script}, {user} and {native} outside of single
// quotes.
type CustomConfig struct {
	Name   string // of the dialect; begins the URLs' scheme
	Submit string
	Status string
	Cancel string

	// ID finds an identifier in what Submit prints: its first group, or all of it.
	ID string

	// Job finds a job in a line of what Status prints, by groups called id, state,
	// and perhaps reason, exit and name. Lines it does not match are skipped, but
	// some line must match if there are any.
	Job string

	// States translates states to unknown, queued, held, running, done, failed and
	// cancelled.
	States map[string]string

	// Array says that Submit makes an array of {count} jobs. Task is the form of
	// their identifiers, "{id}[{index}]" when empty, with indexes from 1, or
	// from 0 where it has {index0}.
	Array bool
	Task  string

	// Directives are lines of the script below the first. One with a place whose
	// value is not given is left out.
	Directives []string

	// Env is sh between double quotes for the variables that a job finds: GAT_JOB,
	// GAT_CORES, GAT_MEMORY, GAT_GPUS, GAT_LEFT.
	Env map[string]string
}

// Limits of a description.
const (
	maxPattern    = 4 << 10
	maxDirectives = 100
)

var (
	customName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	customID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@#\[\]-]*$`)
	place      = regexp.MustCompile(`\{([a-z_0-9]+)(?::([^{}]*))?\}`)
	safe       = regexp.MustCompile(`^[A-Za-z0-9_.,:/@=+*-]*$`)

	places = []string{"script", "ids", "ids_comma", "user", "name", "count", "nodes", "cores", "gpus", "queue", "account", "constraint",
		"walltime_s", "walltime_m", "walltime_hm", "walltime_hms", "memory_kb", "memory_mb", "memory_gb", "native"}
	variables   = []string{"GAT_JOB", "GAT_CORES", "GAT_MEMORY", "GAT_GPUS", "GAT_LEFT"}
	stateNames  = []gat.State{gat.Unknown, gat.Queued, gat.Held, gat.Running, gat.Done, gat.Failed, gat.Cancelled}
	defaultTask = "{id}[{index}]"
)

// custom is a description that was read.
type custom struct {
	CustomConfig
	id, job *regexp.Regexp
	states  map[string]gat.State
}

// Custom makes a dialect of a description. Errors begin with the name of the field
// that is wrong in lower case and a colon.
func Custom(cfg CustomConfig) (*Dialect, error) {
	c, err := readCustom(cfg)
	if err != nil {
		return nil, err
	}
	tool := strings.Fields(cfg.Submit)[0]
	if !safe.MatchString(tool) || strings.Contains(tool, "=") {
		tool = "sh" // a longer line of sh: its commands are looked for when it runs
	}
	d := &Dialect{
		Name:       cfg.Name,
		Title:      cfg.Name,
		Tool:       tool,
		ID:         func(id gat.JobID) bool { return customID.MatchString(string(id)) && len(id) <= 128 },
		JobName:    customJobName,
		Refuse:     c.refuse,
		Submit:     c.submit,
		Directives: c.directives,
		IDs:        c.ids,
		Env:        func(*Job) string { return c.env() },
		Status:     func(ids []gat.JobID) string { return "set -f\n" + fill(c.Status, idValues(ids)) + "\n" },
		States:     c.list,
		Cancel: func(ids []gat.JobID) []string {
			return []string{"/bin/sh", "-c", "set -f\n" + fill(c.Cancel, idValues(ids)) + "\n"}
		},
		Gone:     regexp.MustCompile(`(?i)finished|completed|not found|unknown job|no such job|does not exist|not exist|already|is being terminated|invalid job`),
		Nameless: c.job.SubexpIndex("name") < 0,
	}
	if cfg.Array {
		d.MaxTasks = 1000
	}
	return d, nil
}

func readCustom(cfg CustomConfig) (*custom, error) {
	c := &custom{CustomConfig: cfg, states: make(map[string]gat.State)}
	if !customName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("name: %q is not one: 1 to 32 of a-z, 0-9 and -, a letter first", cfg.Name)
	}
	for _, t := range []struct{ key, text string }{{"submit", cfg.Submit}, {"status", cfg.Status}, {"cancel", cfg.Cancel}} {
		if strings.TrimSpace(t.text) == "" {
			return nil, fmt.Errorf("%s: is empty", t.key)
		}
		if err := checkPlaces(t.text); err != nil {
			return nil, fmt.Errorf("%s: %w", t.key, err)
		}
	}
	if !strings.Contains(cfg.Cancel, "{ids") {
		return nil, errors.New("cancel: has no {ids}")
	}
	if len(cfg.Directives) > maxDirectives {
		return nil, fmt.Errorf("directives: %d lines, at most %d", len(cfg.Directives), maxDirectives)
	}
	for _, line := range cfg.Directives {
		if err := checkPlaces(line); err != nil {
			return nil, fmt.Errorf("directives: %w", err)
		}
		if !strings.HasPrefix(line, "#") || strings.ContainsAny(line, "\r\n") {
			return nil, fmt.Errorf("directives: %.80q is not one line that begins with #", line)
		}
	}
	var err error
	if c.id, err = pattern(cfg.ID); err != nil {
		return nil, fmt.Errorf("id: %w", err)
	}
	if c.job, err = pattern(cfg.Job); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	for _, group := range []string{"id", "state"} {
		if c.job.SubexpIndex(group) < 0 {
			return nil, fmt.Errorf("job: has no group (?P<%s>...)", group)
		}
	}
	if len(cfg.States) == 0 {
		return nil, errors.New("states: is empty")
	}
	for _, word := range slices.Sorted(maps.Keys(cfg.States)) {
		i := slices.IndexFunc(stateNames, func(s gat.State) bool { return s.String() == cfg.States[word] })
		if i < 0 {
			return nil, fmt.Errorf("states: %s is %q, want one of unknown, queued, held, running, done, failed, cancelled", word, cfg.States[word])
		}
		c.states[word] = stateNames[i]
	}
	if c.Task == "" {
		c.Task = defaultTask
	}
	if c.Array && (!strings.Contains(c.Task, "{id}") || !strings.Contains(c.Task, "{index")) {
		return nil, fmt.Errorf("task: %q wants {id} and {index} or {index0}", c.Task)
	}
	if c.Array && !strings.Contains(cfg.Submit+strings.Join(cfg.Directives, ""), "{count") {
		return nil, errors.New("array: neither submit nor directives have {count}")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Env)) {
		if !slices.Contains(variables, name) {
			return nil, fmt.Errorf("env: %q is none of %s", name, strings.Join(variables, ", "))
		}
		if strings.ContainsAny(cfg.Env[name], "\"\r\n") {
			return nil, fmt.Errorf("env: %s holds a double quote or is more than one line", name)
		}
	}
	return c, nil
}

func pattern(text string) (*regexp.Regexp, error) {
	switch {
	case text == "":
		return nil, errors.New("is empty")
	case len(text) > maxPattern:
		return nil, fmt.Errorf("is longer than %d bytes", maxPattern)
	}
	return regexp.Compile("(?m)" + text)
}

func checkPlaces(text string) error {
	if len(text) > maxPattern {
		return fmt.Errorf("is longer than %d bytes", maxPattern)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return errors.New("holds a NUL")
	}
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(places, m[1]) {
			return fmt.Errorf("there is no place {%s}; known are %s", m[1], strings.Join(places, ", "))
		}
		if strings.Contains(m[0], ":") && !strings.Contains(m[2], "%s") {
			return fmt.Errorf("%s has no %%s for the value", m[0])
		}
	}
	return nil
}

// fill puts values into places.
func fill(text string, values map[string]string) string {
	return place.ReplaceAllStringFunc(text, func(s string) string {
		m := place.FindStringSubmatch(s)
		value := values[m[1]]
		if m[1] == "count" && value == "1" && strings.Contains(s, ":") {
			return "" // no array
		}
		if value == "" || !strings.Contains(s, ":") {
			return value
		}
		return strings.ReplaceAll(m[2], "%s", value)
	})
}

func idValues(ids []gat.JobID) map[string]string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return map[string]string{"ids": strings.Join(words, " "), "ids_comma": strings.Join(words, ","), "user": "$(id -un)"}
}

func customJobName(name string) string {
	if c := name[0] | 0x20; c < 'a' || c > 'z' {
		return "j" + name
	}
	return name
}

// values are those of a job.
func (c *custom) values(j *Job) map[string]string {
	r := j.Spec.Resources
	v := map[string]string{"script": `"$gat_script"`, "user": "$(id -un)", "name": j.Name, "count": strconv.Itoa(j.Count),
		"nodes": strconv.Itoa(max(r.Nodes, 1)), "queue": r.Queue, "account": r.Account, "constraint": r.Constraint}
	number := func(name string, n int64) {
		if n > 0 {
			v[name] = strconv.FormatInt(n, 10)
		}
	}
	number("cores", int64(r.Cores))
	number("gpus", int64(r.GPUs))
	number("memory_kb", (r.Memory+1<<10-1)>>10)
	number("memory_mb", (r.Memory+1<<20-1)>>20)
	number("memory_gb", (r.Memory+1<<30-1)>>30)
	if m := Minutes(r.Walltime); m > 0 {
		number("walltime_s", Seconds(r.Walltime))
		number("walltime_m", m)
		v["walltime_hm"] = fmt.Sprintf("%d:%02d", m/60, m%60)
		v["walltime_hms"] = HMS(r.Walltime)
	}
	words, _ := Native(r.Native) // checked before
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	v["native"] = strings.Join(words, " ")
	return v
}

func (c *custom) refuse(spec gat.JobSpec) error {
	r := spec.Resources
	for _, t := range []struct{ key, value string }{{"queue", r.Queue}, {"account", r.Account}, {"constraint", r.Constraint}} {
		if !safe.MatchString(t.value) {
			return &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("%s %q: the dialect %s takes letters, digits and _.,:/@=+*- only", t.key, t.value, c.Name),
				Hint: "see the key " + t.key + " of the site in the sites file"}
		}
	}
	if r.Exclusive && len(r.Native) == 0 {
		return &gat.Error{Class: gat.Invalid, Op: "submit", Err: fmt.Errorf("the dialect %s does not know how to ask for whole nodes", c.Name), Hint: "put the flag into native"}
	}
	return nil
}

func (c *custom) submit(j *Job) ([]string, error) {
	text := fill(c.Submit, c.values(j))
	if !strings.Contains(c.Submit, "{script") {
		return []string{"/bin/sh", "-c", text}, nil
	}
	return []string{"/bin/sh", "-c", `umask 077
gat_script=$(mktemp "${TMPDIR:-/tmp}/gat-job-XXXXXX") || exit
trap 'rm -f "$gat_script"' 0
trap 'exit 1' HUP INT TERM
cat >"$gat_script" && chmod 700 "$gat_script" || exit
` + text + "\n"}, nil
}

// directives leaves out those whose values are not given.
func (c *custom) directives(j *Job) []string {
	values := c.values(j)
	var lines []string
	for _, line := range c.Directives {
		given := true
		for _, m := range place.FindAllStringSubmatch(line, -1) {
			given = given && (values[m[1]] != "" || strings.Contains(m[0], ":"))
		}
		if given {
			lines = append(lines, fill(line, values))
		}
	}
	return lines
}

func (c *custom) env() string {
	var b strings.Builder
	for _, name := range variables {
		if text, ok := c.Env[name]; ok {
			fmt.Fprintf(&b, "%[1]s=\"%[2]s\"; [ -n \"$%[1]s\" ] && export %[1]s || unset %[1]s\n", name, text)
		} else {
			fmt.Fprintf(&b, "unset %s\n", name)
		}
	}
	return b.String()
}

func (c *custom) ids(out string, j *Job) []gat.JobID {
	var found []gat.JobID
	for _, m := range c.id.FindAllStringSubmatch(out, -1) {
		id := m[0]
		if len(m) > 1 {
			id = m[1]
		}
		if !customID.MatchString(id) {
			continue
		}
		if j.Count <= 1 {
			found = append(found, gat.JobID(id))
			continue
		}
		for n := range j.Count {
			found = append(found, gat.JobID(strings.NewReplacer("{id}", id, "{index}", strconv.Itoa(n+1), "{index0}", strconv.Itoa(n)).Replace(c.Task)))
		}
	}
	return found
}

// list reads the lines that Status prints.
func (c *custom) list(out string) (*Listing, error) {
	var l Listing
	some, unread := false, ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		m := c.job.FindStringSubmatch(line)
		if m == nil {
			if line != "" {
				unread = line
			}
			continue
		}
		some = true
		group := func(name string) string {
			if i := c.job.SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		id := gat.JobID(group("id"))
		if !customID.MatchString(string(id)) {
			return nil, fmt.Errorf("%.80q is no identifier", id)
		}
		state, ok := c.states[group("state")]
		if !ok {
			return nil, &gat.Error{Class: gat.Permanent, Op: "status", Err: fmt.Errorf("the dialect %s does not know the state %.40q", c.Name, group("state")),
				Hint: "add it to the table states of the dialect in the sites file"}
		}
		st := gat.JobStatus{ID: id, State: state, Exit: -1, Reason: group("reason")}
		if state == gat.Done {
			st.Exit = 0
		}
		if code, ok := Number(group("exit")); ok && state == gat.Failed {
			st.Exit = code
		}
		l.AddNamed(st, group("name"))
	}
	if !some && unread != "" {
		return nil, fmt.Errorf("no line is a job's: %.80q", unread)
	}
	return &l, nil
}
