package launcher

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A FileError is one thing wrong with a sites file.
type FileError struct {
	File string
	Line int    // from 1; 0 when it is about the whole file
	Col  int    // from 1; 0 when not known
	Site string // the site it is about, may be empty
	Text string // what is wrong, and what to write
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Col > 0 {
			fmt.Fprintf(&b, ":%d", e.Col)
		}
	}
	b.WriteString(": ")
	if e.Site != "" {
		fmt.Fprintf(&b, "site %q: ", e.Site)
	}
	b.WriteString(e.Text)
	return b.String()
}

// ReadSites reads a sites file:
//
//	[defaults]                          # for all sites
//	lease = "10m"
//
//	[site.das]
//	url = "ssh://me@head.example.org"   # or urls = [...], tried in order
//	hosts = ["node[01-16]"]             # reached through head, a pilot on each
//	pilots = 16                         # how many
//	slots = 4                           # of each pilot; so are cores, memory, disk
//	cores = 8
//	memory = "16GB"
//	disk = "100GB"
//	walltime = "1h30m"                  # a pilot leaves before it is this old
//	after = "2m"                        # use the site only if the job is short for this long
//	scratch = "/scratch/me"             # where everything of ours is, there
//	keep = true                         # leave the pilot binary for the next run
//	hub = "none"                        # start no hub on head; or bound it:
//	hub_cpu = "10%"                     # of one core
//	hub_bandwidth = "10MB/s"
//	setup = ["module load java"]        # lines for sh, before each pilot
//	gpus = 1                            # of each pilot
//
//	[site.cluster]
//	url = "slurm+ssh://me@cluster.example.org"
//	pilots = 40                         # how many jobs
//	cores = 16                          # what the scheduler is asked for
//	queue = "short"                     # and account, constraint, exclusive
//	shape = "array"                     # or "single", "multi"
//	native = ["--qos=low"]              # flags for its submit command
//	shared = "/home/me/zorilla"         # a directory that all nodes see, or "none"
//	patience = "10m"                    # given up when held or refused this long
//	max_core_hours = 500
//
//	[dialect.lsf]                       # a queueing system of one's own (see [Dialect])
//	submit = "bsub < {script}"
//
// Only the URLs are needed. What makes no sense for a site is refused rather
// than ignored: each key is a promise. In [defaults] it is for those sites for
// which it makes sense. All that is wrong with the file is reported, in the
// order of its lines, as joined [FileError] values.
func ReadSites(path string, rules SitesRules) (*Sites, error) {
	whole := func(text string) error { return &FileError{File: path, Text: text} }
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, whole("no such sites file")
		}
		return nil, whole(cmp.Or(errors.Unwrap(err), err).Error())
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, whole("is a directory, want a sites file such as " + filepath.Join(path, "sites.toml"))
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSitesFile+1))
	if err != nil {
		return nil, whole(cmp.Or(errors.Unwrap(err), err).Error())
	}
	if len(data) > MaxSitesFile {
		return nil, whole(fmt.Sprintf("is larger than %d bytes", MaxSitesFile))
	}
	return ParseSites(path, data, rules)
}

// SitesRules say what a sites file may hold beyond what every file may. Nil
// functions allow everything.
type SitesRules struct {
	// Dialect says what is wrong with a dialect that the file defines. A text
	// that begins with a key and a colon is told with that key's line. It is
	// called before URL.
	Dialect func(Dialect) error

	// URL says what is wrong with a URL, its scheme included.
	URL func(*url.URL) error

	// Site says what is wrong with a site whose keys are each all right.
	Site func(*Site) error
}

// ParseSites is [ReadSites] for a file that was read already; name is used in
// errors.
func ParseSites(name string, data []byte, rules SitesRules) (*Sites, error) {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		e := &FileError{File: name, Text: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
		if d, ok := errors.AsType[*toml.DecodeError](err); ok {
			e.Line, e.Col = d.Position()
		}
		if strings.Contains(e.Text, "already exists") || strings.Contains(e.Text, "already defined") {
			e.Text = strings.TrimPrefix(e.Text, "not TOML: ") + "; every site needs a name of its own, every key comes once"
		}
		return nil, e
	}
	r := &sitesReader{file: name, lines: linesOf(data), rules: rules}
	return r.read(tree)
}

// sitesReader turns the tree of a file into sites and collects what is wrong.
type sitesReader struct {
	file  string
	lines map[string]int // line of each key, by its path
	rules SitesRules
	errs  []*FileError
}

// keyPath joins the parts of a dotted key to a key of sitesReader.lines.
func keyPath(parts ...string) string { return strings.Join(parts, "\x00") }

// linesOf finds the line on which each table, key and array item begins.
func linesOf(data []byte) map[string]int {
	lines := make(map[string]int)
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = noteKey(&p, lines, nil, e)
		case unstable.KeyValue:
			noteValue(&p, lines, table, e)
		}
	}
	return lines
}

// noteKey notes the lines of all parts of a key below at and returns its path.
func noteKey(p *unstable.Parser, lines map[string]int, at []string, e *unstable.Node) []string {
	path := slices.Clone(at)
	for it := e.Key(); it.Next(); {
		n := it.Node()
		path = append(path, string(n.Data))
		if k := keyPath(path...); lines[k] == 0 {
			lines[k] = p.Shape(n.Raw).Start.Line
		}
	}
	return path
}

func noteValue(p *unstable.Parser, lines map[string]int, at []string, e *unstable.Node) {
	path := noteKey(p, lines, at, e)
	v := e.Value()
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			noteValue(p, lines, path, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			if n := it.Node(); n.Raw.Length > 0 {
				lines[keyPath(append(slices.Clone(path), fmt.Sprint(i))...)] = p.Shape(n.Raw).Start.Line
			}
		}
	}
}

func (r *sitesReader) errorf(path []string, site, format string, args ...any) {
	line := 0
	for n := len(path); n > 0 && line == 0; n-- {
		line = r.lines[keyPath(path[:n]...)]
	}
	r.errs = append(r.errs, &FileError{File: r.file, Line: line, Site: site, Text: fmt.Sprintf(format, args...)})
}

func (r *sitesReader) read(tree map[string]any) (*Sites, error) {
	top := []string{"site", "defaults", "dialect"}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if !slices.Contains(top, key) {
			hint := didYouMean(key, top)
			if hint == "" {
				hint = "; want [defaults], [site.NAME] and [dialect.NAME] tables"
			}
			r.errorf([]string{key}, "", "unknown key %q%s", key, hint)
		}
	}
	dialects := r.dialects(tree["dialect"])

	var defaults Site
	if v, ok := tree["defaults"]; ok {
		if t, ok := v.(map[string]any); ok {
			r.table([]string{"defaults"}, "", t, &defaults, true)
		} else {
			r.errorf([]string{"defaults"}, "", `"defaults" is a table; write [defaults]`)
		}
	}

	for _, key := range hubKeys {
		if d, _ := tree["defaults"].(map[string]any); d != nil && d[key] != nil && defaults.NoHub {
			r.errorf([]string{"defaults", key}, "", `%q bounds a hub, and hub = "none" says that there is none; keep one of them`, key)
		}
	}
	var sites []*Site
	tables, ok := tree["site"].(map[string]any)
	switch {
	case tree["site"] != nil && !ok:
		r.errorf([]string{"site"}, "", `"site" is a table of sites; write [site.NAME]`)
	case len(tables) == 0:
		r.errorf(nil, "", "no site; write for example\n\n    [site.cluster]\n    url = \"ssh://me@head.example.org\"\n")
	case len(tables) > MaxSites:
		r.errorf([]string{"site"}, "", "%d sites, at most %d are possible", len(tables), MaxSites)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		path := []string{"site", name}
		if !validSiteName(name) {
			hint := ""
			if _, isTable := tables[name].(map[string]any); !isTable {
				hint = "; write [site.NAME] above the keys of a site"
			}
			r.errorf(path, "", "site name %q: want 1 to 32 of a-z, 0-9 and -, with - inside only%s", name, hint)
			continue
		}
		t, ok := tables[name].(map[string]any)
		if !ok {
			r.errorf(path, "", "%q is not a table; write [site.NAME] above the keys of a site", name)
			continue
		}
		s := defaults
		s.Name, s.File, s.Line = name, r.file, r.lines[keyPath(path...)]
		s.Setup, s.Native = slices.Clone(defaults.Setup), slices.Clone(defaults.Native)
		before := len(r.errs)
		r.table(path, name, t, &s, false)
		r.whole(path, t, &s)
		if r.rules.Site != nil && len(r.errs) == before {
			if err := r.rules.Site(&s); err != nil {
				r.errorf(path, name, "%v", err)
			}
		}
		sites = append(sites, &s)
	}
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b *FileError) int { return cmp.Compare(a.Line, b.Line) })
		errs := make([]error, len(r.errs))
		for i, e := range r.errs {
			errs[i] = e
		}
		return nil, errors.Join(errs...)
	}
	slices.SortStableFunc(sites, func(a, b *Site) int { return cmp.Compare(a.Line, b.Line) })
	return &Sites{List: sites, Dialects: dialects}, nil
}

// whole checks what concerns several keys of a site.
func (r *sitesReader) whole(path []string, t map[string]any, s *Site) {
	_, one := t["url"]
	_, many := t["urls"]
	switch {
	case one && many:
		r.errorf(append(path, "urls"), s.Name, `both "url" and "urls"; keep one of them`)
	case !one && !many:
		r.errorf(path, s.Name, `no "url"; write for example url = "ssh://me@head.example.org"`)
	}
	if len(s.URLs) == 0 {
		return
	}
	for _, u := range s.URLs[1:] {
		if (u.Scheme == "local") != s.Local() {
			r.errorf(append(path, "urls"), s.Name, "%q is this machine and the others are not; make two sites of them", "local:")
			break
		}
		if a, b := queueing(s.URLs[0]), queueing(u); a != b {
			r.errorf(append(path, "urls"), s.Name, "%q and %q lead to different queueing systems; make two sites of them", s.URLs[0].Redacted(), u.Redacted())
			break
		}
	}
	r.hub(path, t, s)
	if s.Batch() {
		r.batch(path, s)
	} else {
		r.notBatch(path, t, s)
	}
	if s.Local() && len(s.Hosts) > 0 {
		r.errorf(append(path, "hosts"), s.Name, `"hosts" are reached through a site's host; a "local:" site has none, give those hosts sites of their own`)
	}
	if len(s.Hosts) > 0 && s.Pilots > 0 && s.Pilots < len(s.Hosts) {
		r.errorf(append(path, "pilots"), s.Name, "%d pilots for %d hosts; leave out \"pilots\" for one on each host", s.Pilots, len(s.Hosts))
	}
	if s.Slots > 0 && s.Cores > 0 && s.Slots > s.Cores {
		r.errorf(append(path, "slots"), s.Name, "%d slots on %d cores; want at most a slot per core", s.Slots, s.Cores)
	}
}

// hub checks what is said of a hub where there is none. What [defaults] say of
// hubs does not concern such a site.
func (r *sitesReader) hub(path []string, t map[string]any, s *Site) {
	if !s.NoHub && !s.Local() {
		return
	}
	for _, key := range hubKeys {
		_, here := t[key]
		_, none := t["hub"]
		switch at := append(path, key); {
		case !here:
		case s.Local():
			r.errorf(at, s.Name, `%q bounds a hub, and a "local:" site has none`, key)
		case none:
			r.errorf(at, s.Name, `%q bounds a hub, and hub = "none" says that there is none; keep one of them`, key)
		default:
			r.errorf(at, s.Name, `%q bounds a hub, and [defaults] say hub = "none"; write hub = "auto" here to have one`, key)
		}
	}
	s.HubCPU, s.HubBandwidth = 0, 0
}

// queueing returns the name of the queueing system that a URL leads to, or nothing.
func queueing(u *url.URL) string {
	name, _, ok := strings.Cut(u.Scheme, "+")
	if !ok {
		return ""
	}
	return name
}

// batch checks a site that has a queueing system.
func (r *sitesReader) batch(path []string, s *Site) {
	if len(s.Hosts) > 0 {
		r.errorf(append(path, "hosts"), s.Name, `"hosts" cannot be chosen where a queueing system does; write pilots = %d, and "constraint" for what they must have`, len(s.Hosts))
	}
}

// notBatch checks a site that has none: what its own table says of a queueing
// system is refused, what [defaults] say does not concern it.
func (r *sitesReader) notBatch(path []string, t map[string]any, s *Site) {
	for _, key := range slices.Sorted(maps.Keys(queueKeys)) {
		if _, ok := t[key]; ok {
			r.errorf(append(path, key), s.Name, "%q is for sites with a queueing system, such as slurm+%s://: %s", key, s.URLs[0].Scheme, queueKeys[key])
		}
	}
	s.Queue, s.Account, s.Constraint, s.Shape, s.Shared = "", "", "", "", ""
	s.Exclusive, s.Native, s.Patience, s.MaxCoreHours = false, nil, 0, 0
}
