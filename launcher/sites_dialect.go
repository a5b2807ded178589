package launcher

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dialectKeys are the keys of a [dialect.NAME] table, with what reads them.
var dialectKeys = map[string]func(f *siteField, d *Dialect){
	"submit":     func(f *siteField, d *Dialect) { d.Submit = f.template("bsub < {script}") },
	"status":     func(f *siteField, d *Dialect) { d.Status = f.template("bjobs {ids}") },
	"cancel":     func(f *siteField, d *Dialect) { d.Cancel = f.template("bkill {ids}") },
	"id":         func(f *siteField, d *Dialect) { d.ID = f.template("Job <([0-9]+)>") },
	"job":        func(f *siteField, d *Dialect) { d.Job = f.template("^(?P<id>[0-9]+) (?P<state>[A-Z]+)") },
	"states":     func(f *siteField, d *Dialect) { d.States = f.pairs("PEND", "queued") },
	"array":      func(f *siteField, d *Dialect) { d.Array = f.boolean() },
	"task":       func(f *siteField, d *Dialect) { d.Task = f.template("{id}[{index}]") },
	"directives": func(f *siteField, d *Dialect) { d.Directives = f.templates("#BSUB -q {queue}") },
	"env":        func(f *siteField, d *Dialect) { d.Env = f.pairs("GAT_JOB", "$LSB_JOBID") },
}

// neededDialectKeys are those without which nothing can be submitted or followed.
var neededDialectKeys = []string{"submit", "status", "cancel", "id", "job", "states"}

const maxTemplate = 4 << 10 // bytes of a template or pattern

// dialects reads the [dialect.NAME] tables.
func (r *sitesReader) dialects(v any) map[string]Dialect {
	tables, ok := v.(map[string]any)
	switch {
	case v == nil:
		return nil
	case !ok:
		r.errorf([]string{"dialect"}, "", `"dialect" is a table of dialects; write [dialect.NAME]`)
		return nil
	case len(tables) > MaxDialects:
		r.errorf([]string{"dialect"}, "", "%d dialects, at most %d are possible", len(tables), MaxDialects)
		return nil
	}
	all := make(map[string]Dialect)
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		path := []string{"dialect", name}
		t, ok := tables[name].(map[string]any)
		switch {
		case !ok:
			r.errorf(path, "", "%q is not a table; write [dialect.NAME] above the keys of a dialect", name)
		case !validDialectName(name):
			r.errorf(path, "", "dialect name %q: want 1 to 32 of a-z, 0-9 and -, a letter first; it becomes part of URLs", name)
		default:
			all[name] = r.dialect(path, name, t)
		}
	}
	return all
}

func (r *sitesReader) dialect(path []string, name string, t map[string]any) Dialect {
	d := Dialect{Name: name, File: r.file, Line: r.lines[keyPath(path...)]}
	known := slices.Sorted(maps.Keys(dialectKeys))
	before := len(r.errs)
	for _, key := range slices.Sorted(maps.Keys(t)) {
		f := &siteField{r: r, path: append(slices.Clone(path), key), key: key, value: t[key]}
		read, ok := dialectKeys[key]
		if !ok {
			hint := didYouMean(key, known)
			if hint == "" {
				hint = "; known are " + strings.Join(known, ", ")
			}
			r.errorf(f.path, "", "dialect %q: unknown key %q%s", name, key, hint)
			continue
		}
		read(f, &d)
	}
	for _, key := range neededDialectKeys {
		if _, ok := t[key]; !ok {
			r.errorf(path, "", "dialect %q: no %q", name, key)
		}
	}
	if len(r.errs) > before || r.rules.Dialect == nil {
		return d
	}
	if err := r.rules.Dialect(d); err != nil {
		if key, _, ok := strings.Cut(err.Error(), ":"); ok && dialectKeys[key] != nil {
			path = append(path, key)
		}
		r.errorf(path, "", "dialect %q: %v", name, err)
	}
	return d
}

// validDialectName reports whether a name can begin a URL's scheme.
func validDialectName(s string) bool {
	return validSiteName(s) && s[0] >= 'a' && s[0] <= 'z'
}

// template reads a text whose meaning is the backend's business.
func (f *siteField) template(example string) string {
	s, ok := f.text(example)
	if ok {
		f.checkTemplate(s)
	}
	return s
}

func (f *siteField) checkTemplate(s string) {
	switch {
	case strings.TrimSpace(s) == "":
		f.wrong("is empty")
	case len(s) > maxTemplate:
		f.wrong("is longer than %d bytes", maxTemplate)
	case strings.ContainsRune(s, 0):
		f.wrong("holds a NUL")
	}
}

func (f *siteField) templates(example string) []string {
	out := f.texts(example, false)
	if len(out) > 100 {
		f.wrong("is more than 100 lines")
		return nil
	}
	for _, s := range out {
		if strings.ContainsAny(s, "\n\r") {
			f.wrong("%q: want one line in each text", s)
		}
		f.checkTemplate(s)
	}
	return out
}

// pairs reads a table of texts.
func (f *siteField) pairs(key, value string) map[string]string {
	t, ok := f.value.(map[string]any)
	if !ok {
		f.wrong("is %s, want a table of texts; write %s = {%s = %q}", is(f.value), f.key, key, value)
		return nil
	}
	if len(t) > 100 {
		f.wrong("has more than 100 entries")
		return nil
	}
	out := make(map[string]string)
	for _, k := range slices.Sorted(maps.Keys(t)) {
		s, ok := t[k].(string)
		if !ok {
			f.r.errorf(append(slices.Clone(f.path), k), f.site, "%s: %s is %s, want text in quotes; write %s = %q", f.key, k, is(t[k]), key, value)
			continue
		}
		if len(k) > 255 || len(s) > maxTemplate || strings.ContainsRune(k+s, 0) {
			f.r.errorf(append(slices.Clone(f.path), k), f.site, "%s: %s is too long or holds a NUL", f.key, fmt.Sprintf("%.40q", k))
			continue
		}
		out[k] = s
	}
	return out
}
