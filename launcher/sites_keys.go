package launcher

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
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
	"setup":    func(f *siteField, s *Site) { s.Setup = f.lines() },
}

// ownKeys make no sense for all sites at once.
var ownKeys = []string{"url", "urls", "hosts"}

// foreignKeys are keys of sites that this version cannot reach, or of sessions
// it cannot have; they are refused rather than ignored, because each of them
// is a promise.
var foreignKeys = map[string]string{
	"idle":           "is for sessions that outlive a job; the pilots of a run leave with its job",
	"queue":          "is for sites with a queueing system; local: and ssh:// sites have no queue",
	"account":        "is for sites with a queueing system; local: and ssh:// sites have no accounting",
	"native":         "is for sites with a queueing system; local: and ssh:// sites have no scheduler to pass it to",
	"max_cost":       "is for sites that cost money; local: and ssh:// sites cannot keep to it",
	"max_core_hours": "is for sites with a queueing system; local: and ssh:// sites cannot keep to it",
	"gpus":           "is not supported by local: and ssh:// sites: pilots there offer no GPUs",
	"hub_cpu":        `is not supported by local: and ssh:// sites: hubs there run at the lowest priority; write hub = "none" to have none`,
	"hub_bandwidth":  `is not supported by local: and ssh:// sites; write hub = "none" to have no hub there`,
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

func (f *siteField) absolute() string {
	s, ok := f.text("/scratch/me")
	if ok && (!path.IsAbs(s) || path.Clean(s) == "/" || len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })) {
		f.wrong("%q: want an absolute path other than /; variables are not expanded, leave the key out for the site's $TMPDIR", s)
	}
	return path.Clean(s)
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
		if f.r.check != nil {
			if err := f.r.check(u); err != nil {
				wrong("%v", err)
				continue
			}
		}
		out = append(out, u)
	}
	return out
}
