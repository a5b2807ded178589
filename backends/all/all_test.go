package all_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/gat"
)

func TestSchemes(t *testing.T) {
	t.Parallel()
	var schemes []string
	for _, b := range all.Registry() {
		for _, s := range b.Schemes() {
			if slices.Contains(schemes, s) {
				t.Errorf("two backends serve %s", s)
			}
			schemes = append(schemes, s)
			u := &url.URL{Scheme: s}
			if strings.HasSuffix(s, "ssh") {
				u = &url.URL{Scheme: s, User: url.User("me"), Host: "head:2222"}
				if err := b.Check(&url.URL{Scheme: s}); err == nil {
					t.Errorf("%s takes a URL without a host", s)
				}
			}
			if err := b.Check(u); err != nil {
				t.Errorf("check %s: %v", u, err)
			}
			_, renders := b.(gat.Renderer)
			if strings.Contains(s, "+") != renders {
				t.Errorf("%s renders submissions: %v", s, renders)
			}
		}
	}
	slices.Sort(schemes)
	want := []string{"local", "openssh"}
	for _, dialect := range []string{"pbs", "prun", "sge", "slurm"} {
		want = append(want, dialect+"+local", dialect+"+openssh", dialect+"+ssh")
	}
	want = append(want, "ssh")
	if !slices.Equal(schemes, want) {
		t.Errorf("schemes are %q, want %q", schemes, want)
	}
}

// A sites file's own dialect is served over the same shells.
func TestCustom(t *testing.T) {
	t.Parallel()
	cfg := all.CustomConfig{Name: "lsf", Submit: "bsub < {script}", Status: "bjobs -u {user}", Cancel: "bkill {ids}", ID: "<([0-9]+)>",
		Job: `^(?P<id>[0-9]+) (?P<state>[A-Z]+)`, States: map[string]string{"PEND": "queued"}}
	backends, err := all.Custom(all.Registry(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var schemes []string
	for _, b := range backends {
		schemes = append(schemes, b.Schemes()...)
	}
	if want := []string{"lsf+local", "lsf+ssh", "lsf+openssh"}; !slices.Equal(schemes, want) {
		t.Errorf("schemes are %q, want %q", schemes, want)
	}
	cfg.Job = "("
	if _, err := all.Custom(all.Registry(), cfg); err == nil || !strings.HasPrefix(err.Error(), "job: ") {
		t.Errorf("a bad pattern: %v", err)
	}
}
