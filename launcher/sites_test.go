package launcher_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

// rules know some schemes and refuse ports, as a backend might, and dialects
// whose patterns are wrong.
var rules = launcher.SitesRules{
	URL: func(u *url.URL) error {
		switch {
		case !slices.Contains([]string{"local", "ssh", "slurm+ssh", "slurm+local", "sge+ssh", "lsf+ssh"}, u.Scheme):
			return fmt.Errorf("%q has the unknown scheme %q; known are local, ssh", u.Redacted(), u.Scheme)
		case u.Port() == "0":
			return errors.New("port 0: want 1 to 65535")
		}
		return nil
	},
	Dialect: func(d launcher.Dialect) error {
		if _, err := regexp.Compile(d.Job); err != nil {
			return fmt.Errorf("job: %w", err)
		}
		if d.Name == "slurm" {
			return errors.New("there is one already")
		}
		return nil
	},
	Site: func(s *launcher.Site) error {
		if s.Shape == launcher.ShapeMulti && s.URLs[0].Scheme == "sge+ssh" {
			return errors.New("no jobs of several nodes")
		}
		return nil
	},
}

func TestParseSites(t *testing.T) {
	got, err := launcher.ParseSites("sites.toml", []byte(`
[defaults]
lease = "5m"
setup = "module load java"

[site.das]
urls = ["ssh://me@fs0", "ssh://me@fs1:2222"]
hosts = ["node[09-11]", "r[1-2]n[1,3]", "me@x:22"]
slots = 4
cores = 8
memory = "16GB"
disk = "1.5TiB"
walltime = "1h30m"
after = "2m"
scratch = "/scratch/me/"
keep = true
hub = "none"
lease = "1d"
setup = ["a", """b
c"""]

[site.here]
url = "local:"
`), rules)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	want := &launcher.Sites{List: []*launcher.Site{
		{
			Name:  "das",
			URLs:  []*url.URL{parse("ssh://me@fs0"), parse("ssh://me@fs1:2222")},
			Hosts: []string{"node09", "node10", "node11", "r1n1", "r1n3", "r2n1", "r2n3", "me@x:22"},
			Slots: 4, Cores: 8, Memory: 16e9, Disk: 3 << 39,
			Walltime: 90 * time.Minute, After: 2 * time.Minute, Lease: 24 * time.Hour,
			Scratch: "/scratch/me", Keep: true, NoHub: true,
			Setup: []string{"a", "b", "c"},
			File:  "sites.toml", Line: 6,
		},
		{
			Name: "here", URLs: []*url.URL{parse("local:")},
			Lease: 5 * time.Minute, Setup: []string{"module load java"},
			File: "sites.toml", Line: 22,
		},
	}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b *url.URL) bool { return a.String() == b.String() })); d != "" {
		t.Errorf("sites (-want +got):\n%s", d)
	}
	if n := got.List[0].PilotCount(); n != 8 {
		t.Errorf("PilotCount = %d, want 8: one for each host", n)
	}
	if got.List[0].Local() || !got.List[1].Local() {
		t.Error("only the second site is this machine")
	}
}

func TestParseSitesErrors(t *testing.T) {
	const (
		ok      = "[site.a]\nurl = \"local:\"\n"
		queue   = "[site.a]\nurl = \"slurm+ssh://h\"\n"
		dialect = "[dialect.lsf]\nsubmit = \"bsub < {script}\"\nstatus = \"bjobs {ids}\"\ncancel = \"bkill {ids}\"\n" +
			"id = \"<([0-9]+)>\"\njob = \"(?P<id>.*)\"\nstates = {PEND = \"queued\"}\n"
	)
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", `sites.toml: no site; write for example`},
		{"not TOML", "[site.a\n", `sites.toml:1:8: not TOML: expected`},
		{"binary", "\x7fELF\x02", `sites.toml:1:1: not TOML: `},
		{"duplicate site", ok + "\n" + ok, `sites.toml:4:2: table a already exists; every site needs a name of its own, every key comes once`},
		{"duplicate key", ok + "slots = 1\nslots = 2\n", `sites.toml:4:1: key slots is already defined; every site needs a name of its own, every key comes once`},
		{"unknown key", ok + "slts = 4\n", `sites.toml:3: site "a": unknown key "slts"; did you mean "slots"?`},
		{"swapped letters", ok + "mmeory = \"1GB\"\n", `sites.toml:3: site "a": unknown key "mmeory"; did you mean "memory"?`},
		{"key like no other", ok + "wibble = 4\n", `sites.toml:3: site "a": unknown key "wibble"; known are account, after, constraint, cores, disk, `},
		{"unknown table", ok + "[sites.b]\n", `sites.toml:3: unknown key "sites"; did you mean "site"?`},
		{"stray key", "url = \"local:\"\n" + ok, `sites.toml:1: unknown key "url"; want [defaults], [site.NAME] and [dialect.NAME] tables`},
		{"key for later", ok + "idle = \"5m\"\n", `sites.toml:3: site "a": "idle" is for sessions that outlive a job`},
		{"key of a queue", ok + "queue = \"short\"\n", `sites.toml:3: site "a": "queue" is for sites with a queueing system, such as slurm+local://: there is no queue to choose`},
		{"core hours elsewhere", "[site.a]\nurl = \"ssh://h\"\nmax_core_hours = 3\n", `sites.toml:3: site "a": "max_core_hours" is for sites with a queueing system, such as slurm+ssh://: nobody counts core hours there; walltime bounds`},
		{"shared elsewhere", "[site.a]\nurl = \"ssh://h\"\nshared = \"none\"\n", `sites.toml:3: site "a": "shared" is for sites with a queueing system`},
		{"gpus", ok + "gpus = 65\n", `sites.toml:3: site "a": gpus: 65 is out of range; want 1 to 64`},
		{"name with space", "[site.\"a b\"]\nurl = \"local:\"\n", `sites.toml:1: site name "a b": want 1 to 32 of a-z, 0-9 and -`},
		{"upper case", "[site.DAS]\nurl = \"local:\"\n", `sites.toml:1: site name "DAS": want`},
		{"long name", "[site." + strings.Repeat("a", 33) + "]\nurl = \"local:\"\n", `want 1 to 32`},
		{"site without name", "[site]\nurl = \"local:\"\n", `sites.toml:2: "url" is not a table; write [site.NAME] above the keys of a site`},
		{"no url", "[site.a]\nslots = 1\n", `sites.toml:1: site "a": no "url"; write for example url = "ssh://me@head.example.org"`},
		{"both urls", ok + "urls = [\"local:\"]\n", `sites.toml:3: site "a": both "url" and "urls"; keep one of them`},
		{"unknown scheme", "[site.a]\nurl = \"shh://me@h\"\n", `sites.toml:2: site "a": url: "shh://me@h" has the unknown scheme "shh"; known are local, ssh`},
		{"backend's complaint", "[site.a]\nurls = [\n\"ssh://me@h\",\n\"ssh://me@h:0\"]\n", `sites.toml:4: site "a": urls: port 0: want 1 to 65535`},
		{"no scheme", "[site.a]\nurl = \"me@h\"\n", `sites.toml:2: site "a": url: "me@h" has no scheme; write for example "ssh://me@h"`},
		{"not a URL", "[site.a]\nurl = \"ssh://me:secret@h:x\"\n", `sites.toml:2: site "a": url: not a URL; write for example ssh://me@head.example.org`},
		{"url not text", "[site.a]\nurl = 3\n", `sites.toml:2: site "a": url: is a number, want text in quotes; write url = "ssh://me@head.example.org"`},
		{"list item", "[site.a]\nurls = [\"local:\",\n 7]\n", `sites.toml:3: site "a": urls: item 2 is a number, want text in quotes`},
		{"no unit", ok + "memory = \"4\"\n", `sites.toml:3: site "a": memory: "4" has no unit; write "4MB", "4GB" or another of`},
		{"size without quotes", ok + "memory = 4\n", `sites.toml:3: site "a": memory: is a number, want text in quotes; write memory = "4GB"`},
		{"unknown unit", ok + "disk = \"4gigs\"\n", `disk: "4gigs" has the unknown unit "gigs"; known are B, kB`},
		{"tiny memory", ok + "memory = \"4kB\"\n", `memory: "4kB" is less than 1 MiB`},
		{"time without unit", ok + "walltime = \"90\"\n", `walltime: "90" has no unit; write "90m" for minutes`},
		{"bad time", ok + "walltime = \"1:30\"\n", `walltime: "1:30" is not a time; write a number and a unit, such as "90m", "1h30m" or "2d"`},
		{"negative time", ok + "after = \"-2m\"\n", `after: "-2m" is not a time`},
		{"short lease", ok + "lease = \"1s\"\n", `lease: "1s" is too short; want at least 10s`},
		{"zero slots", ok + "slots = 0\n", `slots: 0 is out of range; want 1 to 4096`},
		{"many slots", ok + "slots = 4097\n", `slots: 4097 is out of range`},
		{"fraction", ok + "pilots = 1.5\n", `pilots: is a fraction, want a whole number without quotes; write pilots = 4`},
		{"more slots than cores", ok + "slots = 4\ncores = 2\n", `sites.toml:3: site "a": 4 slots on 2 cores`},
		{"keep in quotes", ok + "keep = \"yes\"\n", `keep: is text; write keep = true or keep = false`},
		{"hub", ok + "hub = \"maybe\"\n", `hub: "maybe" is unknown; write hub = "auto" (the default) or hub = "none"`},
		{"relative scratch", ok + "scratch = \"$TMPDIR\"\n", `scratch: "$TMPDIR": want an absolute path other than /; variables are not expanded`},
		{"root as scratch", ok + "scratch = \"//\"\n", `scratch: "//": want an absolute path other than /`},
		{"local with hosts", ok + "hosts = [\"x\"]\n", `sites.toml:3: site "a": "hosts" are reached through a site's host; a "local:" site has none`},
		{"open range", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n[1-4\"]\n", `hosts: "n[1-4" has "[" without "]"; write for example "n[1-16]"`},
		{"backward range", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n[4-1]\"]\n", `hosts: "n[4-1]": the range "4-1" runs backwards`},
		{"giant range", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n[1-4000]\", \"m[1-999999999]\"]\n", `hosts: "m[1-999999999]" stands for more than 96 hosts`},
		{"many ranges", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n[1-99]m[1-99]\"]\n", `stands for more than`},
		{"same host", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n1\", \"n[1-2]\"]\n", `hosts: "n1" comes twice`},
		{"bad host", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"-oProxyCommand=x\"]\n", `hosts: "-oProxyCommand=x" is not a host`},
		{"host port", "[site.a]\nurl = \"ssh://h\"\nhosts = [\"n:99999\"]\n", `hosts: "n:99999" has the port "99999", want 1 to 65535`},
		{"fewer pilots than hosts", "[site.a]\nurl = \"ssh://h\"\npilots = 1\nhosts = [\"n[1-2]\"]\n", `1 pilots for 2 hosts`},
		{"local among others", "[site.a]\nurls = [\"ssh://h\", \"local:\"]\n", `"local:" is this machine and the others are not; make two sites of them`},
		{"url in defaults", "[defaults]\nurl = \"local:\"\n" + ok, `sites.toml:2: "url" belongs to a site; write it under [site.NAME]`},
		{"defaults not a table", "defaults = 1\n" + ok, `sites.toml:1: "defaults" is a table; write [defaults]`},
		{"hosts of a queue", queue + "hosts = [\"n[1-3]\"]\n", `sites.toml:3: site "a": "hosts" cannot be chosen where a queueing system does; write pilots = 3, and "constraint" for what they must have`},
		{"what a backend cannot", "[site.a]\nurl = \"sge+ssh://h\"\nshape = \"multi\"\n", `sites.toml:1: site "a": no jobs of several nodes`},
		{"two queueing systems", "[site.a]\nurls = [\"slurm+ssh://h\", \"sge+ssh://h\"]\n", `sites.toml:2: site "a": "slurm+ssh://h" and "sge+ssh://h" lead to different queueing systems; make two sites of them`},
		{"queue or not", "[site.a]\nurls = [\"slurm+ssh://h\", \"ssh://h\"]\n", `"slurm+ssh://h" and "ssh://h" lead to different queueing systems`},
		{"shape", queue + "shape = \"round\"\n", `sites.toml:3: site "a": shape: "round" is unknown; write shape = "array" (`},
		{"shape not text", queue + "shape = 3\n", `sites.toml:3: site "a": shape: is a number, want text in quotes; write shape = "array"`},
		{"empty queue", queue + "queue = \"\"\n", `sites.toml:3: site "a": queue: is empty; write queue = "short", or leave it out`},
		{"flag as queue", queue + "queue = \"--hold\"\n", `queue: "--hold" begins with "-"; write the name alone, and flags under "native"`},
		{"two accounts", queue + "account = \"a b\"\n", `account: "a b": want at most 255 characters, none of them white space`},
		{"line in constraint", queue + "constraint = \"a\\nb\"\n", `constraint: "a\nb": want at most 255 characters, none of them white space`},
		{"line in native", queue + "native = [\"a\\nb\"]\n", `native: "a\nb" is empty or holds control characters`},
		{"native number", queue + "native = [\"-p\",\n4]\n", `sites.toml:4: site "a": native: item 2 is a number, want text in quotes`},
		{"much native", queue + "native = [" + strings.Repeat("\"--x\",", 65) + "]\n", `native: is more than 64 flags or 4 KiB`},
		{"relative shared", queue + "shared = \"~/zorilla\"\n", `shared: "~/zorilla": want the absolute path of a directory that head node and compute nodes share, or "none"`},
		{"no core hours", queue + "max_core_hours = 0\n", `max_core_hours: 0 is out of range; want more than 0`},
		{"odd core hours", queue + "max_core_hours = nan\n", `max_core_hours: NaN is out of range`},
		{"core hours as text", queue + "max_core_hours = \"5h\"\n", `max_core_hours: is text, want a number without quotes; write max_core_hours = 100`},
		{"no patience", queue + "patience = \"1s\"\n", `patience: "1s" is too short; want at least 10s`},
		{"exclusive", queue + "exclusive = 1\n", `exclusive: is a number; write exclusive = true or exclusive = false`},

		{"dialects not tables", "dialect = 1\n" + ok, `sites.toml:1: "dialect" is a table of dialects; write [dialect.NAME]`},
		{"dialect not a table", "[dialect]\nlsf = 1\n" + ok, `sites.toml:2: "lsf" is not a table; write [dialect.NAME] above the keys of a dialect`},
		{"dialect's name", "[dialect.\"l+f\"]\n" + ok, `sites.toml:1: dialect name "l+f": want 1 to 32 of a-z, 0-9 and -, a letter first; it becomes part of URLs`},
		{"dialect with digit", "[dialect.9pm]\n" + ok, `dialect name "9pm": want`},
		{"dialect's key", dialect + "cancle = \"x\"\n" + ok, `sites.toml:8: dialect "lsf": unknown key "cancle"; did you mean "cancel"?`},
		{"half a dialect", "[dialect.lsf]\nsubmit = \"bsub\"\n" + ok, `sites.toml:1: dialect "lsf": no "job"`},
		{"dialect's pattern", strings.Replace(dialect, "(?P<id>.*)", "(", 1) + ok, `sites.toml:6: dialect "lsf": job: error parsing regexp`},
		{"known dialect", strings.Replace(dialect, "lsf", "slurm", 1) + ok, `sites.toml:1: dialect "slurm": there is one already`},
		{"dialect's states", strings.Replace(dialect, "{PEND = \"queued\"}", "\"PEND\"", 1) + ok, `sites.toml:7: states: is text, want a table of texts; write states = {PEND = "queued"}`},
		{"dialect's state", dialect + "[dialect.lsf.env]\nGAT_JOB = \"x\"\nGAT_CORES = 4\n" + ok, `sites.toml:10: env: GAT_CORES is a number, want text in quotes; write GAT_JOB = "$LSB_JOBID"`},
		{"empty template", strings.Replace(dialect, "\"bkill {ids}\"", "\" \"", 1) + ok, `sites.toml:4: cancel: is empty`},
		{"directive of two lines", dialect + "directives = [\"a\\nb\"]\n" + ok, `sites.toml:8: directives: "a\nb": want one line in each text`},
		{"inline", "site.a = {url = \"local:\", slots = \"x\"}\n", `sites.toml:1: site "a": slots: is text, want a whole number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sites, err := launcher.ParseSites("sites.toml", []byte(tt.file), rules)
			if err == nil {
				t.Fatalf("no error but %d sites from:\n%s", len(sites.List), tt.file)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n  %v\nwant\n  %s\nfrom:\n%s", err, tt.want, tt.file)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a password: %v", err)
			}
			if _, ok := errors.AsType[*launcher.FileError](err); !ok {
				t.Errorf("error %T is no FileError", err)
			}
		})
	}
}

// All that is wrong is reported at once, in the order of the lines.
func TestParseSitesReportsAll(t *testing.T) {
	_, err := launcher.ParseSites("f", []byte("[site.b]\nslts = 1\nmemory = \"x\"\n[site.a]\nurl = \"local:\"\nkeep = 1\n"), rules)
	want := strings.Join([]string{
		`f:1: site "b": no "url"; write for example url = "ssh://me@head.example.org"`,
		`f:2: site "b": unknown key "slts"; did you mean "slots"?`,
		`f:3: site "b": memory: "x" is not a size; write a number and a unit, such as "512MiB" or "4GB"`,
		`f:6: site "a": keep: is a number; write keep = true or keep = false`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// What concerns queueing systems only is read where there is one, and
// what [defaults] say of it does not concern others.
func TestParseSitesQueues(t *testing.T) {
	got, err := launcher.ParseSites("sites.toml", []byte(`
[defaults]
account = "physics"
patience = "1h"
native = ["--qos=low"]
gpus = 2

[dialect.lsf]
submit = "bsub < {script}"
status = "bjobs -noheader -o 'jobid stat' {ids}"
cancel = "bkill {ids}"
id = 'Job <([0-9]+)>'
job = '^(?P<id>[0-9]+) (?P<state>[A-Z]+)'
states = {PEND = "queued", RUN = "running"}
array = true
directives = ["#BSUB -q {queue}"]
[dialect.lsf.env]
GAT_JOB = "$LSB_JOBID"

[site.big]
urls = ["slurm+ssh://me@a", "slurm+ssh://me@b"]
pilots = 40
queue = "short,long"
constraint = "intel&gpu"
shape = "multi"
exclusive = true
native = ["-l a=b", "--comment='two words'"]
shared = "/home/me/"
patience = "20m"
max_core_hours = 12.5

[site.own]
url = "lsf+ssh://me@c"
shared = "none"
max_core_hours = 100

[site.lab]
url = "ssh://me@d"
`), rules)
	if err != nil {
		t.Fatal(err)
	}
	u := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	want := &launcher.Sites{
		List: []*launcher.Site{{
			Name: "big", URLs: []*url.URL{u("slurm+ssh://me@a"), u("slurm+ssh://me@b")}, Pilots: 40, GPUs: 2, Account: "physics",
			Queue: "short,long", Constraint: "intel&gpu", Shape: launcher.ShapeMulti, Exclusive: true,
			Native: []string{"-l a=b", "--comment='two words'"}, Shared: "/home/me", Patience: 20 * time.Minute, MaxCoreHours: 12.5,
			File: "sites.toml", Line: 20,
		}, {
			Name: "own", URLs: []*url.URL{u("lsf+ssh://me@c")}, GPUs: 2, Account: "physics", Native: []string{"--qos=low"},
			Shared: "none", Patience: time.Hour, MaxCoreHours: 100, File: "sites.toml", Line: 32,
		}, {
			Name: "lab", URLs: []*url.URL{u("ssh://me@d")}, GPUs: 2, File: "sites.toml", Line: 37,
		}},
		Dialects: map[string]launcher.Dialect{"lsf": {
			Name: "lsf", Submit: "bsub < {script}", Status: "bjobs -noheader -o 'jobid stat' {ids}", Cancel: "bkill {ids}",
			ID: "Job <([0-9]+)>", Job: "^(?P<id>[0-9]+) (?P<state>[A-Z]+)", States: map[string]string{"PEND": "queued", "RUN": "running"},
			Array: true, Directives: []string{"#BSUB -q {queue}"}, Env: map[string]string{"GAT_JOB": "$LSB_JOBID"},
			File: "sites.toml", Line: 8,
		}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b *url.URL) bool { return a.String() == b.String() })); d != "" {
		t.Errorf("sites (-want +got):\n%s", d)
	}
	if !got.List[1].Batch() || got.List[2].Batch() || launcher.LocalSite().Batch() {
		t.Error("only the sites with a + in their scheme have a queueing system")
	}
}

func FuzzParseSites(f *testing.F) {
	f.Add([]byte("[site.a]\nurls = [\"ssh://me@h\"]\nhosts = [\"n[01-16]\"]\n[defaults]\nlease = \"1d\"\n"))
	f.Add([]byte("site.a = {url = \"local:\", setup = [\"x\", 1]}"))
	f.Add([]byte("[site.q]\nurl = \"slurm+ssh://h\"\nqueue = \"a\"\nshape = \"multi\"\nnative = [\"-l\", \"x\"]\nshared = \"none\"\nmax_core_hours = 1.5\npatience = \"1h\"\n"))
	f.Add([]byte("[dialect.x]\nsubmit = \"s\"\nstatus = \"q\"\ncancel = \"c\"\nid = \"i\"\njob = \"j\"\nstates = {R = \"running\"}\n[site.q]\nurl = \"x+ssh://h\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sites, err := launcher.ParseSites("f", data, launcher.SitesRules{})
		if err != nil {
			return
		}
		if len(sites.List) == 0 {
			t.Error("neither sites nor an error")
		}
		for _, s := range sites.List {
			if !s.Batch() && (s.Queue+s.Shared != "" || len(s.Native) > 0) || s.MaxCoreHours < 0 || s.Patience < 0 {
				t.Errorf("what is a queueing system's is at another site: %+v", s)
			}
			if len(s.URLs) == 0 || len(s.Hosts) > launcher.MaxHosts || s.Lease < 0 || s.Memory < 0 {
				t.Errorf("invalid site accepted: %+v", s)
			}
		}
	})
}

func TestReadSites(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "none.toml"), "none.toml: no such sites file"},
		{dir, dir + ": is a directory, want a sites file such as"},
	} {
		_, err := launcher.ReadSites(tt.path, launcher.SitesRules{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ReadSites(%q) = %v, want %s", tt.path, err, tt.want)
		}
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, launcher.MaxSitesFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := launcher.ReadSites(big, launcher.SitesRules{}); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("too large a file: %v", err)
	}
}

func TestFindSites(t *testing.T) {
	dir, config := t.TempDir(), t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("HOME", config)
	if p, ok := launcher.FindSites(""); ok {
		t.Errorf("found %q where there is none", p)
	}
	if p, ok := launcher.FindSites("x.toml"); !ok || p != "x.toml" {
		t.Errorf("the flag was not taken: %q, %v", p, ok)
	}
	user, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(user, "zorilla", "sites.toml")
	write(own)
	if p, ok := launcher.FindSites(""); !ok || p != own {
		t.Errorf("got %q, %v; want the user's file %q", p, ok, own)
	}
	write("sites.toml")
	if p, ok := launcher.FindSites(""); !ok || p != "sites.toml" {
		t.Errorf("got %q, %v; want ./sites.toml before the user's", p, ok)
	}
}

func TestSelectSites(t *testing.T) {
	sites := []*launcher.Site{{Name: "a"}, {Name: "bee"}, {Name: "c"}}
	got, err := launcher.SelectSites(sites, []string{"c", "a"})
	if err != nil || len(got) != 2 || got[0].Name != "a" || got[1].Name != "c" {
		t.Errorf("selected %v, %v", got, err)
	}
	if _, err := launcher.SelectSites(sites, []string{"bea"}); err == nil || err.Error() != `no site "bea"; did you mean "bee"?; there is a, bee, c` {
		t.Errorf("unknown site: %v", err)
	}
}
