package launcher

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Capacity is how many workers of a job fit on sites, as far as is known
// before anything runs there.
type Capacity struct {
	Sites []SiteCapacity
	Want  int // workers wanted
	Min   int // workers without which nothing starts
}

// SiteCapacity is what one site has for a job.
type SiteCapacity struct {
	Site    string
	Pilots  int
	Slots   int    // of each pilot; 0 when the site has to be asked
	Granted bool   // what a pilot has is up to a queueing system
	Workers int    // that fit at most; meaningless when Known is not set
	Known   bool   // the site's capacity is declared, not to be asked there
	Why     string // why fewer workers fit than there are slots, may be empty
}

// CapacityOf says how many workers of a job fit on the sites. Found holds, by
// the name of the site, the slots of a pilot there where they are known from asking;
// it may be nil. What is not declared is taken for unlimited.
func CapacityOf(job Job, sites []*Site, found map[string]int) Capacity {
	c := Capacity{Want: job.Workers, Min: job.Min}
	if c.Min == 0 {
		c.Min = c.Want
	}
	for _, s := range sites {
		c.Sites = append(c.Sites, siteCapacity(job, s, found[s.Name]))
	}
	return c
}

func siteCapacity(job Job, s *Site, found int) SiteCapacity {
	c := SiteCapacity{Site: s.Name, Pilots: s.PilotCount(), Slots: s.Slots, Granted: s.Batch()}
	if c.Slots == 0 {
		c.Slots = found
	}
	if c.Slots == 0 {
		c.Slots = s.Cores
	}
	// What cannot be whatever the slots are.
	switch {
	case s.Cores > 0 && job.Cores > s.Cores:
		c.Known, c.Why = true, fmt.Sprintf("a worker needs %d cores, a pilot has %d", job.Cores, s.Cores)
	case s.Memory > 0 && job.Memory > s.Memory:
		c.Known, c.Why = true, fmt.Sprintf("a worker needs %s of memory, a pilot has %s", FormatSize(job.Memory), FormatSize(s.Memory))
	case s.Disk > 0 && job.Disk > s.Disk:
		c.Known, c.Why = true, fmt.Sprintf("a worker needs %s of scratch, a pilot has %s", FormatSize(job.Disk), FormatSize(s.Disk))
	case s.Walltime > 0 && job.Walltime > s.Walltime:
		c.Known, c.Why = true, fmt.Sprintf("the job may take %v, a pilot leaves after %v", job.Walltime, s.Walltime)
	case s.GPUs > 0 && job.GPUs > s.GPUs:
		c.Known, c.Why = true, fmt.Sprintf("a worker needs %d %s, a pilot has %d", job.GPUs, plural(job.GPUs, "GPU"), s.GPUs)
	case job.GPUs > 0 && s.GPUs == 0 && s.Batch() && !s.Exclusive && len(s.Native) == 0:
		c.Known, c.Why = true, fmt.Sprintf("no GPUs are asked of the queueing system; write gpus = %d under [site.%s]", job.GPUs, s.Name)
	}
	if c.Known || c.Slots == 0 {
		return c
	}
	if job.GPUs > 0 && s.GPUs == 0 {
		c.Why = "which GPUs a pilot finds is seen there"
		return c
	}
	c.Known = true
	// A worker takes as many slots of one pilot as it needs. What is not declared
	// is taken for enough.
	offer := wire.Offer{Slots: uint32(c.Slots), Cores: uint32(s.Cores), Memory: s.Memory, Disk: s.Disk, GPUs: uint32(s.GPUs)}
	needs := wire.Requirements{Memory: job.Memory, Disk: job.Disk, GPUs: uint32(job.GPUs)}
	if s.Cores > 0 {
		needs.Cores = uint32(job.Cores)
	}
	take, _ := flood.PerWorker(&offer, &needs)
	take = max(1, take)
	c.Workers = c.Pilots * (c.Slots / take)
	if take > 1 {
		c.Why = fmt.Sprintf("a worker takes %d slots", take)
	}
	return c
}

// Workers returns how many workers fit at most on the sites whose capacity is
// known, and whether that is all of them.
func (c Capacity) Workers() (n int, all bool) {
	all = true
	for _, s := range c.Sites {
		if s.Known {
			n += s.Workers
		} else {
			all = false
		}
	}
	return n, all
}

// Err returns an error, with the table, when it is certain that fewer workers fit
// than the job needs.
func (c Capacity) Err() error {
	n, all := c.Workers()
	if !all || n >= c.Min {
		return nil
	}
	return fmt.Errorf("the sites have room for %d %s, the job needs %d:\n%s", n, plural(n, "worker"), c.Min, c.Table())
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Table returns the capacity as a table for people, without an end of line
// after its last line.
func (c Capacity) Table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SITE\tPILOTS\tSLOTS EACH\tWORKERS\t")
	for _, s := range c.Sites {
		slots, workers := fmt.Sprint(s.Slots), fmt.Sprint(s.Workers)
		switch {
		case s.Slots == 0 && s.Granted:
			slots = "as granted"
		case s.Slots == 0:
			slots = "asked there"
		}
		if !s.Known {
			workers = "1 or more"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", s.Site, s.Pilots, slots, workers, s.Why)
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
