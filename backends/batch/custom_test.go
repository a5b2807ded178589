package batch_test

import (
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

// homemade describes the small Slurm as a site would describe a system of its own.
func homemade() batch.CustomConfig {
	return batch.CustomConfig{
		Name:   "homemade",
		Submit: "sbatch --job-name={name} {count:--array=1-%s} {queue:--partition=%s} {native} < {script}",
		Status: "squeue -u {user} | tail -n +2",
		Cancel: "scancel {ids}",
		ID:     `^([1-9][0-9]*)$`,
		Job:    `^(?P<id>[0-9_]+)\|(?P<state>[A-Z]+)\|(?P<reason>[^|]*)\|(?P<name>.*)$`,
		States: map[string]string{"PENDING": "queued", "RUNNING": "running", "COMPLETED": "done", "FAILED": "failed", "CANCELLED": "cancelled"},
		Array:  true,
		Task:   "{id}_{index}",
		Env:    map[string]string{"GAT_JOB": "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}", "GAT_CORES": "$SLURM_CPUS_ON_NODE"},
	}
}

func custom(t *testing.T, cfg batch.CustomConfig) *batch.Dialect {
	t.Helper()
	d, err := batch.Custom(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCustomConformance(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := batchtest.Slurm(t, custom(t, homemade()), local.Backend{})
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

// What is wrong is said by the key in the sites file.
func TestCustomMistakes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*batch.CustomConfig){
		"name: ":                      func(c *batch.CustomConfig) { c.Name = "No" },
		"submit: is empty":            func(c *batch.CustomConfig) { c.Submit = " " },
		"submit: there is no place":   func(c *batch.CustomConfig) { c.Submit = "x {memory}" },
		"submit: {queue:-q} has no":   func(c *batch.CustomConfig) { c.Submit = "x {queue:-q}" },
		"status: holds a NUL":         func(c *batch.CustomConfig) { c.Status = "x\x00" },
		"cancel: has no {ids}":        func(c *batch.CustomConfig) { c.Cancel = "x" },
		"id: is empty":                func(c *batch.CustomConfig) { c.ID = "" },
		"id: error parsing regexp":    func(c *batch.CustomConfig) { c.ID = "(" },
		"job: has no group":           func(c *batch.CustomConfig) { c.Job = "(?P<id>x)" },
		"states: is empty":            func(c *batch.CustomConfig) { c.States = nil },
		"states: R is \"run\"":        func(c *batch.CustomConfig) { c.States = map[string]string{"R": "run"} },
		"task: ":                      func(c *batch.CustomConfig) { c.Task = "x" },
		"array: ":                     func(c *batch.CustomConfig) { c.Submit = "x" },
		"directives: \"x\" is not":    func(c *batch.CustomConfig) { c.Directives = []string{"x"} },
		"directives: there is no pla": func(c *batch.CustomConfig) { c.Directives = []string{"#x {y}"} },
		"env: \"HOME\" is none":       func(c *batch.CustomConfig) { c.Env = map[string]string{"HOME": "x"} },
		"env: GAT_JOB holds":          func(c *batch.CustomConfig) { c.Env = map[string]string{"GAT_JOB": `"; rm`} },
	} {
		cfg := homemade()
		change(&cfg)
		if _, err := batch.Custom(cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want one that begins with %q", err, want)
		}
	}
}

// Values that could mean something to sh are refused, wherever they would stand.
func TestCustomHostileValues(t *testing.T) {
	t.Parallel()
	d := custom(t, homemade())
	for _, hostile := range []string{"a b", "a;b", "$(x)", "`x`", "a'b", `a"b`, "a\\b", "a|b", "a>b", "ä"} {
		for key, r := range map[string]gat.Resources{"queue": {Queue: hostile}, "account": {Account: hostile}, "constraint": {Constraint: hostile}} {
			if err := d.Refuse(gat.JobSpec{Resources: r}); gat.ClassOf(err) != gat.Invalid || !strings.Contains(err.Error(), "the key "+key) {
				t.Errorf("%s %q: %v, want an error of class invalid that names the key", key, hostile, err)
			}
		}
	}
}

func TestCustomTexts(t *testing.T) {
	t.Parallel()
	cfg := homemade()
	cfg.Directives = []string{"#X -q {queue}", "#X -t {walltime_hms}{memory_mb:,mem=%s}", "#X always"}
	b := batch.New(custom(t, cfg), local.Backend{})
	r, err := b.(gat.Renderer).Render(&url.URL{Scheme: "homemade+local"}, gat.JobSpec{Argv: []string{"/bin/true"}, Name: "n", Count: 7,
		Resources: gat.Resources{Walltime: 90 * time.Minute, Memory: 3 << 20, Native: []string{`--a "b c"`, "--d"}}})
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(r.Script, "\n{\n")
	if diff := cmp.Diff("#!/bin/sh\n#X -t 01:30:00,mem=3\n#X always", head); diff != "" {
		t.Error(diff)
	}
	if want := `sbatch --job-name=n --array=1-7  '--a' 'b c' '--d' < "$gat_script"`; !strings.Contains(r.Submit[2], want) {
		t.Errorf("submit is %q, want %q in it", r.Submit[2], want)
	}
}

// The examples are read, and what they render is sh.
func TestCustomExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/dialects/*.toml")
	if err != nil || len(files) != 4 {
		t.Fatalf("examples are %q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "Untested") {
			t.Errorf("%s does not say that it is untested", file)
		}
		var sites struct {
			Dialect map[string]batch.CustomConfig
		}
		if err := toml.Unmarshal(text, &sites); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, name := range slices.Sorted(maps.Keys(sites.Dialect)) {
			cfg := sites.Dialect[name]
			cfg.Name = name
			d := custom(t, cfg)
			b := batch.New(d, local.Backend{})
			for _, r := range []gat.Resources{{}, {Queue: "q", Account: "a", Constraint: "big", Cores: 2, GPUs: 1, Memory: 1 << 30, Walltime: time.Hour, Native: []string{"-x y"}}} {
				out, err := b.(gat.Renderer).Render(&url.URL{Scheme: name + "+local"}, gat.JobSpec{Argv: []string{"/bin/true"}, Count: 2, Resources: r})
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				for _, sh := range []string{out.Script, out.Submit[2], out.Status[2], out.Cancel[2]} {
					if said, err := exec.Command("/bin/sh", "-n", "-c", sh).CombinedOutput(); err != nil {
						t.Errorf("%s: %v: %s\n%s", file, err, said, sh)
					}
				}
			}
		}
	}
	lsf := "Job <811> is submitted to queue <normal>.\n"
	var sites struct {
		Dialect map[string]batch.CustomConfig
	}
	text, _ := os.ReadFile("../../examples/dialects/lsf.toml")
	if err := toml.Unmarshal(text, &sites); err != nil {
		t.Fatal(err)
	}
	cfg := sites.Dialect["lsf"]
	cfg.Name = "lsf"
	d := custom(t, cfg)
	if got := d.IDs(lsf, &batch.Job{Count: 2}); !slices.Equal(got, []gat.JobID{"811[1]", "811[2]"}) {
		t.Errorf("LSF's answer gives %q", got)
	}
	l, err := d.States("811[1]|EXIT|7|pilot|-\n811[2]|PEND||pilot|Job dependency\n")
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := l.Find("811[1]"); st.State != gat.Failed || st.Exit != 7 {
		t.Errorf("LSF's exit is %v", st)
	}
	if _, err := d.States("LSF is down. Please wait ...|||\n"); err == nil {
		t.Error("LSF's complaint is a listing")
	}
}
