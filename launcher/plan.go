package launcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/policy"
	"github.com/zorilla-grid/zorilla/staging"
)

// Plan is what a run would do, as far as can be told without logging in anywhere.
type Plan struct {
	App      string     `json:"app"`
	Kind     string     `json:"kind"` // what the application is, such as "jar"
	Workers  int        `json:"workers"`
	Min      int        `json:"min"`
	Inputs   int64      `json:"inputs"`          // bytes that go to each host that runs workers
	Pilot    int64      `json:"pilot,omitempty"` // bytes of the pilot binary; 0 when it has to be built first
	Room     int        `json:"room"`            // workers that fit on the sites whose capacity is known
	AllKnown bool       `json:"all_known"`       // that is all of them
	Sites    []SitePlan `json:"sites"`

	// Scripts are those of ours that are run at the sites, exactly; what goes to a queueing
	// system is in QueuePlan.
	Scripts []ScriptPlan `json:"scripts"`

	Capacity Capacity `json:"-"`
}

// SitePlan is what a run would do at one site.
type SitePlan struct {
	Site   string   `json:"site"`
	URLs   []string `json:"urls"` // tried in order; without secrets
	Hosts  []string `json:"hosts,omitempty"`
	Pilots int      `json:"pilots"`
	After  float64  `json:"after_s,omitempty"` // nothing is done there before, see [Site]

	// Steps says in sentences what is done there, in order: logins, what is put where
	// and goes when, what runs on which host.
	Steps []string `json:"steps"`

	// Ports says which ports are opened by us, and for whom.
	Ports []string `json:"ports"`

	Hub    *HubPlan `json:"hub,omitempty"`    // that would run there; nil: none
	Policy string   `json:"policy,omitempty"` // what the administrator allows, where that is known; empty: everything

	Queue *QueuePlan `json:"queue,omitempty"` // of a site with a queueing system
}

// HubPlan is what a hub would be on the host that is logged in to. What its
// administrator's policy takes away from that is known only there.
type HubPlan struct {
	Nice      int     `json:"nice"`                      // its scheduling priority: 19 is the lowest
	CPU       float64 `json:"cpu_percent,omitempty"`     // of one core, at most; 0: no bound
	Bandwidth int64   `json:"bandwidth_bytes,omitempty"` // per second, both ways together, at most; 0: no bound
	Ports     int     `json:"ports"`                     // TCP ports it opens, at most, each on one inner address
}

// String says it in a phrase, such as "nice 19, at most 10% of a core and 10
// MB/s, one inner port".
func (h *HubPlan) String() string {
	text := fmt.Sprintf("nice %d", h.Nice)
	var caps []string
	if h.CPU > 0 {
		caps = append(caps, fmt.Sprintf("%g%% of a core", h.CPU))
	}
	if h.Bandwidth > 0 {
		caps = append(caps, policy.FormatRate(h.Bandwidth))
	}
	if len(caps) > 0 {
		text += ", at most " + strings.Join(caps, " and ")
	}
	switch h.Ports {
	case 0:
		return text + ", no port"
	case 1:
		return text + ", one inner port"
	}
	return fmt.Sprintf("%s, %d inner ports at most", text, h.Ports)
}

// hubPlan is the hub of a site that has one.
func hubPlan(site *Site, ports int) *HubPlan {
	return &HubPlan{Nice: hubNice, CPU: float64(site.HubCPU) / 10, Bandwidth: site.HubBandwidth, Ports: ports}
}

// QueuePlan is what a run would ask of a queueing system.
type QueuePlan struct {
	Jobs   int    `json:"jobs"`             // submitted at first
	Nodes  int    `json:"nodes"`            // of each
	Shared string `json:"shared,omitempty"` // directory that pilots are started from; empty: they travel in the script

	Cores     int     `json:"cores"`                // that all pilots have at a time, as far as is known
	CoreHours float64 `json:"core_hours,omitempty"` // that the run takes at most; 0: no bound is known

	Submit []string `json:"submit,omitempty"` // command lines
	Status []string `json:"status,omitempty"`
	Cancel []string `json:"cancel,omitempty"`
	Script string   `json:"script,omitempty"` // secrets and large data elided
}

// PlanRun says what [Run] would do. It only reads: the application, its inputs, and
// pilot binaries that are at hand. What is wrong with the job or the options is
// an error, as in a run; that the sites have too little room is not, see
// [Plan.Capacity].
func PlanRun(ctx context.Context, job Job, opts Options) (*Plan, error) {
	s := newSession(job, opts)
	if err := s.check(); err != nil {
		return nil, err
	}
	set, err := staging.Build(ctx, s.inputs(), staging.BuildOptions{})
	if err != nil {
		return nil, err
	}
	p := &Plan{App: job.App, Kind: s.app.Kind.String(), Workers: s.job.Workers, Min: s.job.Min, Inputs: set.Size(),
		Capacity: CapacityOf(s.job, opts.Sites, nil)}
	p.Room, p.AllKnown = p.Capacity.Workers()
	finder := bundle.New(bundle.Options{Pilot: opts.Pilot, Go: "none"})
	defer finder.Close()
	binary, err := finder.Find(ctx, "linux/amd64")
	if err == nil {
		p.Pilot = binary.Size
	} else if _, ok := errors.AsType[*bundle.NotFoundError](err); !ok {
		return nil, err
	}
	for _, site := range opts.Sites {
		sp, err := s.planSite(site, p.Pilot)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", site.Name, err)
		}
		p.Sites = append(p.Sites, sp)
	}
	p.Scripts = planScripts(opts.Sites)
	return p, nil
}

func (s *session) planSite(site *Site, size int64) (SitePlan, error) {
	p := SitePlan{Site: site.Name, Hosts: site.Hosts, Pilots: site.PilotCount(), After: site.After.Seconds()}
	for _, u := range site.URLs {
		p.URLs = append(p.URLs, u.Redacted())
	}
	if site.After > 0 {
		p.step("nothing before the job has been short of workers for %s", FormatDuration(site.After))
	}
	pilots := fmt.Sprintf("%d %s", p.Pilots, plural(p.Pilots, "pilot"))
	lease := fmt.Sprintf("what runs there ends by itself %s after it lost us", FormatDuration(s.leaseOf(site)))
	switch {
	case site.Local():
		p.step("%s on this machine, in %s, removed at the end", pilots, scratchOf(site, "$TMPDIR or /tmp"))
		p.port("none")
		p.ownPolicy()
		return p, nil
	case site.Batch():
		if err := s.planQueue(site, &p, size); err != nil {
			return p, err
		}
		p.step("%s", lease)
		return p, nil
	}
	p.step("log in by %s", strings.Join(p.URLs, ", else "))
	if len(site.Hosts) > 0 {
		p.step("log in from there to %s", hostsText(site.Hosts))
	}
	p.step("bring the pilot (%s) to %s of each host, removed at the end%s", pilotText(size), scratchOf(site, "$TMPDIR, /tmp or another scratch directory"), keptText(site))
	switch {
	case site.NoHub:
		p.step("no hub; %s that wait to be called over the login", pilots)
		p.port("none that stays open: sockets in that directory")
	case len(site.Hosts) > 0:
		p.step("a hub on the host logged in to, at the lowest priority, and %s on the hosts", pilots)
		p.port("one TCP port of the hub, on the address that leads to the hosts, for them")
		p.Hub = hubPlan(site, 1)
	default:
		p.step("a hub, at the lowest priority, and %s there", pilots)
		p.Hub = hubPlan(site, 0)
		p.port("none that stays open: sockets in that directory, reached over the login")
	}
	p.port("%s", briefly)
	p.step("%s", lease)
	return p, nil
}

// briefly is the port that direct connections between nodes need.
const briefly = "a TCP port of a pilot, for seconds, whenever another node is to connect to it directly; it takes members of the session only"

func (p *SitePlan) step(format string, args ...any) {
	p.Steps = append(p.Steps, fmt.Sprintf(format, args...))
}

func (p *SitePlan) port(format string, args ...any) {
	p.Ports = append(p.Ports, fmt.Sprintf(format, args...))
}

// ownPolicy tells of the policy of this machine.
func (p *SitePlan) ownPolicy() {
	allowed, err := policy.Read(policy.Path)
	host, _ := os.Hostname()
	f := facts{Host: host, Policy: allowed, PolicyErr: err}
	if d := f.denial(false, true); d != nil {
		p.Policy = d.Error()
	} else {
		p.Policy = allowed.Bounds()
	}
}

func scratchOf(site *Site, otherwise string) string { return cmp.Or(site.Scratch, otherwise) }

func keptText(site *Site) string {
	if site.Keep {
		return ", but for the pilot, which is kept for the next run"
	}
	return ""
}

func pilotText(size int64) string {
	if size == 0 {
		return "built first"
	}
	return FormatSize(size)
}

// hostsText names a few hosts and counts the others.
func hostsText(hosts []string) string {
	if len(hosts) <= 4 {
		return strings.Join(hosts, ", ")
	}
	return fmt.Sprintf("%s, %s ... %s (%d hosts)", hosts[0], hosts[1], hosts[len(hosts)-1], len(hosts))
}

// planQueue says what is done at a site with a queueing system, and renders what
// would be submitted.
func (s *session) planQueue(site *Site, p *SitePlan, size int64) error {
	spec := site.PilotJob("SESSION", p.Pilots)
	each := p.Pilots / max(1, spec.Count)
	q := &QueuePlan{Jobs: spec.Count, Nodes: each, Cores: p.Pilots * max(1, spec.Resources.Cores)}
	p.Queue = q
	p.step("log in to the head node by %s", strings.Join(p.URLs, ", else "))
	if site.NoHub {
		p.step("no hub on the head node: links to the pilots run through the scheduler's own commands")
		p.port("none on the head node")
	} else {
		p.step("a hub on the head node, at the lowest priority, in %s there, removed at the end", scratchOf(site, "$TMPDIR, /tmp or another scratch directory"))
		p.port("a TCP port of the hub on each address of the head node that leads to compute nodes, at most %d, for them", maxListen)
		p.Hub = hubPlan(site, maxListen)
	}
	p.port("%s", briefly)
	if site.Shared != "" && site.Shared != "none" {
		q.Shared = site.Shared
		p.step("bring the pilot (%s) to %s, from where the compute nodes start it, removed at the end%s", pilotText(size), site.Shared, keptText(site))
	} else {
		p.step("pilot (%s) and token travel in the script body%s", pilotText(size), unlessShared(site))
	}
	p.step("submit %s, and cancel those that still wait when the job has what it wants", askedText(site, spec, each))
	p.step("a pilot finds scratch on its own node: %s", scratchOf(site, "$TMPDIR, /local, /scratch/$USER, /var/tmp, /tmp or /dev/shm"))
	p.step("ask the queue at most once in 60 s, for all runs of yours together")
	p.step("give the site up when the scheduler holds pilots, or takes none, for %s", FormatDuration(cmp.Or(site.Patience, DefaultPatience)))
	s.price(site, p)
	if err := s.carry(site, &spec, size); err != nil {
		return err
	}
	return s.render(site, spec, q)
}

// unlessShared tells of what is decided at the site.
func unlessShared(site *Site) string {
	if site.Shared == "none" {
		return ""
	}
	return ", unless scratch on the head node turns out to be on a network file system: then they are put and started there"
}

func askedText(site *Site, spec gat.JobSpec, each int) string {
	var what string
	switch {
	case each > 1:
		what = fmt.Sprintf("one job of %d nodes, a pilot on each", each)
	case spec.Count > 1 && site.Shape != ShapeSingle:
		what = fmt.Sprintf("%d jobs, a pilot each, as an array where the system has them", spec.Count)
	default:
		what = fmt.Sprintf("%d %s, a pilot each", spec.Count, plural(spec.Count, "job"))
	}
	r := spec.Resources
	for _, part := range []struct {
		set  bool
		text string
	}{
		{r.Cores > 0, fmt.Sprintf("%d %s", r.Cores, plural(r.Cores, "core"))},
		{r.GPUs > 0, fmt.Sprintf("%d %s", r.GPUs, plural(r.GPUs, "GPU"))},
		{r.Memory > 0, FormatSize(r.Memory)},
		{r.Exclusive, "whole nodes"},
		{r.Walltime > 0, FormatDuration(r.Walltime)},
		{r.Queue != "", "queue " + r.Queue},
		{r.Account != "", "account " + r.Account},
		{r.Constraint != "", "constraint " + r.Constraint},
	} {
		if part.set {
			what += ", " + part.text
		}
	}
	return what
}

// price bounds what the pilots of a site may use.
func (s *session) price(site *Site, p *SitePlan) {
	q := p.Queue
	note := ""
	if site.Exclusive || site.Cores == 0 && site.Slots == 0 {
		note = ", counting one core where the site says nothing, and not whole nodes"
		if site.Cores > 0 || site.Slots > 0 {
			note = ", not counting the rest of whole nodes"
		}
	}
	if s.job.Walltime > 0 {
		q.CoreHours = float64(q.Cores) * s.job.Walltime.Hours()
	}
	if site.MaxCoreHours > 0 && (q.CoreHours == 0 || site.MaxCoreHours < q.CoreHours) {
		q.CoreHours = site.MaxCoreHours
	}
	if q.CoreHours > 0 {
		p.step("at most %.4g core hours%s", q.CoreHours, note)
		return
	}
	p.step("%d core hours for each hour that all pilots are up%s; --walltime of the job or max_core_hours of the site bounds it", q.Cores, note)
}

// carry gives a submission what travels with it; secrets are made up.
func (s *session) carry(site *Site, spec *gat.JobSpec, size int64) error {
	if shared := site.Shared; shared != "" && shared != "none" {
		dir := path.Join(shared, "zorilla-UID", pilot.SessionDirName("SESSION"))
		spec.Argv = []string{path.Join(dir, "zorilla-pilot"), "agent", "SESSION", path.Join(dir, fmt.Sprintf(bootName, 1))}
		return nil
	}
	boot := pilot.Boot{Version: 1, Session: s.id, Site: site.Name, Role: "pilot", Pin: strings.Repeat("0", 64), Token: strings.Repeat("0", 12),
		Secret: strings.Repeat("0", 64), Hubs: []string{"tcp:192.0.2.255:65535"}, Scratch: site.Scratch, Slots: site.Slots, Cores: site.Cores,
		Memory: site.Memory, Disk: site.Disk, GPUs: site.GPUs, Lease: pilot.Duration(s.leaseOf(site)), Walltime: pilot.Duration(site.Walltime)}
	data, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	spec.Files = []gat.JobFile{{Name: "pilot", Mode: 0o700, Data: make([]byte, min(size, gat.MaxJobFileSize/2))}, {Name: "boot", Mode: 0o600, Data: data}}
	spec.Argv = []string{"./pilot", "agent", "SESSION", "boot"}
	return nil
}

// render has the backend say what it would run.
func (s *session) render(site *Site, spec gat.JobSpec, q *QueuePlan) error {
	u := site.URLs[0]
	i := slices.IndexFunc(s.opts.Backends, func(b gat.Backend) bool { return slices.Contains(b.Schemes(), u.Scheme) })
	if i < 0 {
		return fmt.Errorf("unknown scheme %q", u.Scheme)
	}
	r, ok := s.opts.Backends[i].(gat.Renderer)
	if !ok {
		return nil
	}
	out, err := r.Render(u, spec)
	if err != nil {
		return err
	}
	if len(spec.Files) > 0 && len(spec.Files[0].Data) == 0 {
		out.Script = strings.Replace(out.Script, "(0 bytes, ", "(", 1) // not known yet
	}
	q.Script, q.Submit, q.Status, q.Cancel = out.Script, out.Submit, out.Status, out.Cancel
	return nil
}
