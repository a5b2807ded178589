package launcher

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// siteKeys are the keys of a site, with what reads them.
var siteKeys = map[string]func(f *siteField, s *Site){
	"url":      func(f *siteField, s *Site) { s.URLs = f.urls(false) },
	"urls":     func(f *siteField, s *Site) { s.URLs = f.urls(true) },
	"hosts":    func(f *siteField, s *Site) { s.Hosts = f.hosts() },
	"pilots":   func(f *siteField, s *Site) { s.Pilots = f.count(MaxPilots) },
	"slots":    func(f *siteField, s *Site) { s.Slots = f.count(MaxSlots) },
	"cores":    func(f *siteField, s *Site) { s.Cores = f.count(1 << 16) },
	"memory":   func(f *siteField, s *Site) { s.Memory = f.size() },
	"disk":     func(f *siteField, s *Site) { s.Disk = f.size() },
	"walltime": func(f *siteField, s *Site) { s.Walltime = f.time(time.Minute) },
	"lease":    func(f *siteField, s *Site) { s.Lease = f.time(MinLease) },
	"after":    func(f *siteField, s *Site) { s.After = f.time(0) },
	"scratch":  func(f *siteField, s *Site) { s.Scratch = f.absolute() },
	"keep":     func(f *siteField, s *Site) { s.Keep = f.boolean() },
	"hub":      func(f *siteField, s *Site) { s.NoHub = f.hub() },
	"hub_cpu":  func(f *siteField, s *Site) { s.HubCPU = bounded(f, "10%", policy.ParseCPU) },
	"setup":    func(f *siteField, s *Site) { s.Setup = f.lines() },
	"gpus":     func(f *siteField, s *Site) { s.GPUs = f.count(MaxGPUs) },

	"hub_bandwidth": func(f *siteField, s *Site) { s.HubBandwidth = bounded(f, "10MB/s", policy.ParseRate) },

	"queue":          func(f *siteField, s *Site) { s.Queue = f.word("short") },
	"account":        func(f *siteField, s *Site) { s.Account = f.word("physics") },
	"constraint":     func(f *siteField, s *Site) { s.Constraint = f.word("haswell") },
	"shape":          func(f *siteField, s *Site) { s.Shape = f.shape() },
	"exclusive":      func(f *siteField, s *Site) { s.Exclusive = f.boolean() },
	"native":         func(f *siteField, s *Site) { s.Native = f.words() },
	"shared":         func(f *siteField, s *Site) { s.Shared = f.shared() },
	"patience":       func(f *siteField, s *Site) { s.Patience = f.time(10 * time.Second) },
	"max_core_hours": func(f *siteField, s *Site) { s.MaxCoreHours = f.amount() },
}

// hubKeys bound a hub, and make sense only where there may be one.
var hubKeys = []string{"hub_cpu", "hub_bandwidth"}

// ownKeys make no sense for all sites at once.
var ownKeys = []string{"url", "urls", "hosts"}

// queueKeys make sense only where pilots go through a queueing system; the
// text says why not elsewhere.
var queueKeys = map[string]string{
	"queue":          "there is no queue to choose",
	"account":        "nobody keeps accounts there",
	"constraint":     "nobody chooses nodes there; name those you want as hosts",
	"shape":          "there are no jobs to shape",
	"exclusive":      "nobody can keep others away there",
	"native":         "there is no scheduler to pass it to",
	"shared":         "a pilot runs where its files are put; name another place with scratch",
	"patience":       "nobody holds pilots back there",
	"max_core_hours": "nobody counts core hours there; walltime bounds how long pilots stay",
}

// foreignKeys are keys of sites that this version cannot reach, or of sessions
// it cannot have; they are refused rather than ignored, because each of them
// is a promise.
var foreignKeys = map[string]string{
	"idle":     "is for sessions that outlive a job; the pilots of a run leave with its job",
	"max_cost": "is for sites that cost money, which this version does not know; max_core_hours bounds a site with a queueing system",
}

// MinLease is the shortest lease: a shorter one would end pilots for a hiccup
// of the network.
const MinLease = 10 * time.Second

// siteField is one key of a table while it is read.
type siteField struct {
	r     *sitesReader
	path  []string
	site  string
	key   string
	value any
}

func (f *siteField) wrong(format string, args ...any) {
	f.r.errorf(f.path, f.site, "%s: "+format, append([]any{f.key}, args...)...)
}

// table reads the keys of one table into s.
func (r *sitesReader) table(at []string, site string, t map[string]any, s *Site, defaults bool) {
	known := slices.Sorted(maps.Keys(siteKeys))
	for _, key := range slices.Sorted(maps.Keys(t)) {
		f := &siteField{r: r, path: append(slices.Clone(at), key), site: site, key: key, value: t[key]}
		switch read, ok := siteKeys[key]; {
		case defaults && slices.Contains(ownKeys, key):
			r.errorf(f.path, site, "%q belongs to a site; write it under [site.NAME]", key)
		case ok:
			read(f, s)
		case foreignKeys[key] != "":
			r.errorf(f.path, site, "%q %s", key, foreignKeys[key])
		default:
			hint := didYouMean(key, known)
			if hint == "" {
				hint = "; known are " + strings.Join(known, ", ")
			}
			r.errorf(f.path, site, "unknown key %q%s", key, hint)
		}
	}
}

// is names the type of a value as TOML has it.
func is(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date"
}

func (f *siteField) text(example string) (string, bool) {
	s, ok := f.value.(string)
	if !ok {
		f.wrong("is %s, want text in quotes; write %s = %q", is(f.value), f.key, example)
	}
	return s, ok
}

func (f *siteField) count(most int) int {
	n, ok := f.value.(int64)
	switch {
	case !ok:
		f.wrong("is %s, want a whole number without quotes; write %s = 4", is(f.value), f.key)
	case n < 1 || n > int64(most):
		f.wrong("%d is out of range; want 1 to %d", n, most)
	default:
		return int(n)
	}
	return 0
}

func (f *siteField) size() int64 {
	s, ok := f.text("4GB")
	if !ok {
		return 0
	}
	n, err := ParseSize(s)
	switch {
	case err != nil:
		f.wrong("%v", err)
	case n < 1<<20:
		f.wrong("%q is less than 1 MiB", s)
	}
	return n
}

func (f *siteField) time(least time.Duration) time.Duration {
	s, ok := f.text("1h30m")
	if !ok {
		return 0
	}
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		f.wrong("%v", err)
	case d < least:
		f.wrong("%q is too short; want at least %v", s, least)
	}
	return d
}

func (f *siteField) boolean() bool {
	b, ok := f.value.(bool)
	if !ok {
		f.wrong("is %s; write %s = true or %s = false", is(f.value), f.key, f.key)
	}
	return b
}

func (f *siteField) hub() bool {
	s, ok := f.text("none")
	if ok && s != "none" && s != "auto" {
		f.wrong(`%q is unknown; write hub = "auto" (the default) or hub = "none"`, s)
	}
	return s == "none"
}

// bounded reads a bound of a hub.
func bounded[N int | int64](f *siteField, example string, parse func(string) (N, error)) N {
	s, ok := f.text(example)
	if !ok {
		return 0
	}
	n, err := parse(s)
	if err != nil {
		f.wrong("%v", err)
	}
	return n
}

func (f *siteField) absolute() string {
	s, ok := f.text("/scratch/me")
	if ok && !usablePath(s) {
		f.wrong("%q: want an absolute path other than /; variables are not expanded, leave the key out for the site's $TMPDIR", s)
	}
	return path.Clean(s)
}

// usablePath reports whether a text is an absolute path that is not the root.
func usablePath(s string) bool {
	return path.IsAbs(s) && path.Clean(s) != "/" && len(s) <= 255 && !strings.ContainsFunc(s, unicode.IsControl)
}

func (f *siteField) shared() string {
	s, ok := f.text("/home/me/zorilla")
	switch {
	case !ok || s == "none":
		return s
	case !usablePath(s):
		f.wrong(`%q: want the absolute path of a directory that head node and compute nodes share, or "none"; leave the key out to have it found out`, s)
	}
	return path.Clean(s)
}

func (f *siteField) shape() Shape {
	s, ok := f.text(string(ShapeArray))
	switch Shape(s) {
	case ShapeArray, ShapeSingle, ShapeMulti:
	default:
		if ok {
			f.wrong(`%q is unknown; write shape = "array" (one array of single-node jobs, the default), "single" (a job for each pilot) or "multi" (one job of many nodes)`, s)
		}
	}
	return Shape(s)
}

// word reads a name as a scheduler has it.
func (f *siteField) word(example string) string {
	s, ok := f.text(example)
	switch {
	case !ok:
	case s == "":
		f.wrong("is empty; write %s = %q, or leave it out", f.key, example)
	case s[0] == '-':
		f.wrong(`%q begins with "-"; write the name alone, and flags under "native"`, s)
	case len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }):
		f.wrong("%q: want at most 255 characters, none of them white space", s)
	}
	return s
}

// words reads the flags that go to a scheduler as they are.
func (f *siteField) words() []string {
	out := f.texts("--qos=low", true)
	for _, s := range out {
		if strings.TrimSpace(s) == "" || strings.ContainsFunc(s, unicode.IsControl) {
			f.wrong("%q is empty or holds control characters", s)
		}
	}
	if len(out) > 64 || len(strings.Join(out, "")) > 4<<10 {
		f.wrong("is more than 64 flags or 4 KiB")
		return nil
	}
	return out
}

// amount reads a number that may have a fraction.
func (f *siteField) amount() float64 {
	var n float64
	switch v := f.value.(type) {
	case int64:
		n = float64(v)
	case float64:
		n = v
	default:
		f.wrong("is %s, want a number without quotes; write %s = 100", is(f.value), f.key)
		return 0
	}
	if !(n > 0 && n <= 1e9) { // NaN too
		f.wrong("%v is out of range; want more than 0 and at most a thousand million", n)
		return 0
	}
	return n
}

// texts reads a list of texts; one text is a list of one if single is set.
func (f *siteField) texts(example string, single bool) []string {
	if s, ok := f.value.(string); ok && single {
		return []string{s}
	}
	list, ok := f.value.([]any)
	if !ok {
		f.wrong("is %s, want a list of texts; write %s = [%q]", is(f.value), f.key, example)
		return nil
	}
	if len(list) == 0 {
		f.wrong("is empty; write %s = [%q], or leave it out", f.key, example)
	}
	var out []string
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			f.r.errorf(append(slices.Clone(f.path), fmt.Sprint(i)), f.site, "%s: item %d is %s, want text in quotes", f.key, i+1, is(v))
			continue
		}
		out = append(out, s)
	}
	return out
}

func (f *siteField) lines() []string {
	var out []string
	for _, s := range f.texts("module load java", true) {
		for line := range strings.Lines(s) {
			out = append(out, strings.TrimRight(line, "\r\n"))
		}
	}
	if len(out) > 100 || len(strings.Join(out, "\n")) > 16<<10 || strings.ContainsRune(strings.Join(out, ""), 0) {
		f.wrong("is more than 100 lines or 16 KiB, or holds a NUL; put it in a script at the site and run that")
		return nil
	}
	return out
}

func (f *siteField) hosts() []string {
	var out []string
	seen := make(map[string]bool)
	for _, p := range f.texts("inner[1-16]", true) {
		hosts, err := expandHosts(p, MaxHosts-len(out))
		if err != nil {
			f.wrong("%v", err)
			continue
		}
		for _, h := range hosts {
			if seen[h] {
				f.wrong("%q comes twice", h)
				return nil
			}
			seen[h] = true
		}
		out = append(out, hosts...)
	}
	return out
}

func (f *siteField) urls(many bool) []*url.URL {
	var texts []string
	if many {
		texts = f.texts("ssh://me@head.example.org", false)
	} else if s, ok := f.text("ssh://me@head.example.org"); ok {
		texts = []string{s}
	}
	if len(texts) > MaxURLs {
		f.wrong("%d URLs, at most %d are possible", len(texts), MaxURLs)
		return nil
	}
	var out []*url.URL
	for i, s := range texts {
		wrong := func(format string, args ...any) {
			p := f.path
			if many {
				p = append(slices.Clone(p), fmt.Sprint(i))
			}
			f.r.errorf(p, f.site, "%s: "+format, append([]any{f.key}, args...)...)
		}
		u, err := url.Parse(s)
		switch {
		case err != nil:
			// The parser's text repeats the URL, which may hold a password.
			wrong("not a URL; write for example ssh://me@head.example.org")
			continue
		case u.Scheme == "":
			wrong("%q has no scheme; write for example %q", u.Redacted(), "ssh://"+strings.TrimLeft(u.Redacted(), "/"))
			continue
		}
		if f.r.rules.URL != nil {
			if err := f.r.rules.URL(u); err != nil {
				wrong("%v", err)
				continue
			}
		}
		out = append(out, u)
	}
	return out
}
