package launcher

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Sites is what a sites file holds.
type Sites struct {
	List     []*Site            // in the order of the file
	Dialects map[string]Dialect // the queueing systems that the file itself defines, by name
}

// Site is a place to get resources: one table of the sites file.
type Site struct {
	Name string // [a-z0-9-], at most 32 bytes, usable as a host label

	// URLs are ways to log in, tried in order. All have the form that their
	// backend wants.
	URLs []*url.URL

	// Hosts are hosts that are reached through the site's own host, in the
	// form "name", "user@name" or "name:port"; the pilots run there. Empty
	// means that they run at the URL itself.
	Hosts []string

	// Pilots is the number of pilots. 0 means one for each of Hosts, or one.
	Pilots int

	// What each pilot offers. 0 means what the site turns out to have: all
	// cores that may be used, a slot per core, nine tenths of the memory, the
	// free scratch space.
	Slots  int
	Cores  int
	Memory int64 // bytes
	Disk   int64 // bytes
	GPUs   int   // asked of a queueing system; elsewhere at most so many of what is found

	// Walltime is the age before which pilots leave, and the wall time asked of a
	// queueing system. 0 means never, or the queue's default.
	Walltime time.Duration
	Lease    time.Duration // life without a sign of life from us; 0 means Options.Lease

	Scratch string        // directory for all we make there; empty means the site's $TMPDIR or /tmp
	Keep    bool          // leave the pilot binary, and only that, for the next run; a run without Keep leaves one that is there
	NoHub   bool          // start no hub on the site's host
	HubCPU  int           // what the hub may take, in thousandths of a core; 0 means no bound
	After   time.Duration // do nothing there until the job has been short for this long
	Setup   []string      // lines for sh, run before each pilot and inherited by it, such as "module load java"; one that fails fails the pilot

	HubBandwidth int64 // bytes per second that the hub may move in bulk; 0 means no bound

	// What only a site with a queueing system has (see [Site.Batch]).
	Queue      string   // queue or partition; empty means the default one
	Account    string   // account or project that pays
	Constraint string   // features that the nodes must have, as the scheduler writes them
	Shape      Shape    // how pilots are put into jobs; empty means Array
	Exclusive  bool     // pilots have their nodes for themselves
	Native     []string // flags for the scheduler's submit command, after ours; split as sh splits words

	// Shared is a directory that head node and compute nodes share; pilots are started
	// from there. "none" says that there is none, empty that it is to be found out.
	Shared string

	// Patience is how long the scheduler may hold pilots, or refuse to take
	// them, before the site is given up. 0 means DefaultPatience.
	Patience time.Duration

	// MaxCoreHours bounds what all pilots of the site may use together, in
	// cores times hours. 0 means no bound.
	MaxCoreHours float64

	File string // where the site was read from; empty for the built-in one
	Line int
}

// Shape is how the pilots of a site with a queueing system are put into jobs.
type Shape string

// The shapes.
const (
	ShapeArray  Shape = "array"  // one array of single-node jobs, the default
	ShapeSingle Shape = "single" // a job for each pilot
	ShapeMulti  Shape = "multi"  // one job of as many nodes as there are pilots
)

// DefaultPatience is the patience of a site that says nothing about it.
const DefaultPatience = 10 * time.Minute

// Dialect is a queueing system that a sites file defines itself, as a
// [dialect.NAME] table: how jobs are submitted, listed and cancelled with its commands, and
// how their answers are to be read. Sites use it as NAME+ssh://. What may stand in the
// templates and patterns is the business of the backend that is made of it.
type Dialect struct {
	Name       string
	Submit     string            // template of the command that submits a script
	Status     string            // template of the command that lists jobs
	Cancel     string            // template of the command that ends jobs
	ID         string            // pattern of the identifier in what Submit prints
	Job        string            // pattern of a line of Status: groups id, state and reason
	States     map[string]string // what the scheduler's states mean
	Array      bool              // one submit starts many
	Task       string            // form of the identifiers of those
	Directives []string          // templates of lines at the head of the script
	Env        map[string]string // what a job knows of itself, as shell text

	File string
	Line int
}

// Limits of a sites file.
const (
	MaxSites     = 256     // sites in a file
	MaxHosts     = 4096    // hosts of a site, after expansion
	MaxPilots    = 4096    // pilots of a site
	MaxSlots     = 4096    // slots of a pilot
	MaxURLs      = 16      // URLs of a site
	MaxGPUs      = 64      // GPUs of a pilot
	MaxDialects  = 32      // dialects of a file
	MaxSitesFile = 1 << 20 // bytes of a sites file
)

// Local reports whether the site is this machine.
func (s *Site) Local() bool {
	return len(s.URLs) > 0 && s.URLs[0].Scheme == "local"
}

// Batch reports whether the site's pilots go through a queueing system.
func (s *Site) Batch() bool {
	return len(s.URLs) > 0 && batchScheme(s.URLs[0].Scheme)
}

// batchScheme reports whether a scheme names a queueing system and the way to it.
func batchScheme(scheme string) bool { return strings.Contains(scheme, "+") }

// PilotCount returns how many pilots the site is to have.
func (s *Site) PilotCount() int {
	switch {
	case s.Pilots > 0:
		return s.Pilots
	case len(s.Hosts) > 0:
		return len(s.Hosts)
	}
	return 1
}

// LocalSite returns the site that is used without a sites file: this machine,
// with a slot per core.
func LocalSite() *Site {
	n := runtime.NumCPU()
	return &Site{Name: "local", URLs: []*url.URL{{Scheme: "local"}}, Slots: n, Cores: n}
}

// FindSites returns the path of the sites file: flag if it is not empty, else
// ./sites.toml, else zorilla/sites.toml in the user's configuration directory.
// It is false if there is none, and [LocalSite] is to be used; a file named by
// the flag is not looked for here.
func FindSites(flag string) (path string, ok bool) {
	if flag != "" {
		return flag, true
	}
	candidates := []string{"sites.toml"}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "zorilla", "sites.toml"))
	}
	for _, c := range candidates {
		if _, err := os.Lstat(c); err == nil {
			return c, true
		}
	}
	return "", false
}

// SelectSites returns the sites with the given names, in the order of the
// file; all of them if no name is given.
func SelectSites(sites []*Site, names []string) ([]*Site, error) {
	if len(names) == 0 {
		return sites, nil
	}
	var known []string
	for _, s := range sites {
		known = append(known, s.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("no site %q%s; there is %s", n, didYouMean(n, known), strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(sites), func(s *Site) bool { return !slices.Contains(names, s.Name) }), nil
}

// validSiteName reports whether a name can be part of a node's identity.
func validSiteName(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// didYouMean returns `; did you mean "x"?` for the known word nearest to got, or nothing
// when none is near.
func didYouMean(got string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(got, k); d < at && d < max(len(got), len(k)) {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of edits (insert, delete, replace, swap neighbours)
// between two short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, prev, cur [65]int
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev = prev, cur
	}
	return prev[len(b)]
}
