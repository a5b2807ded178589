package pilot

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// A granted is what a scheduler has given the job that this agent runs in, as
// the job's script tells in its environment: what is not set there is not
// known, and what makes no sense counts as not set.
type granted struct {
	job    string        // GAT_JOB, the scheduler's name of the job; empty: there is none
	part   uint32        // GAT_NODE, which of the job's hosts this is
	cores  int           // GAT_CORES, on this host; 0 is not known
	memory int64         // GAT_MEMORY, bytes on this host; 0 is not known
	left   time.Duration // GAT_LEFT, wall time left at the start, in seconds; 0 is not known
}

// grantedBy reads an environment.
func grantedBy(getenv func(string) string) granted {
	number := func(name string, most int64) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(getenv(name)), 10, 64)
		if err != nil || n < 0 || n > most {
			return 0
		}
		return n
	}
	g := granted{
		job:    strings.TrimSpace(getenv("GAT_JOB")),
		part:   uint32(number("GAT_NODE", wire.MaxPart)),
		cores:  int(number("GAT_CORES", wire.MaxCores)),
		memory: number("GAT_MEMORY", wire.MaxBytes),
		left:   time.Duration(number("GAT_LEFT", int64(wire.MaxTime/time.Second))) * time.Second,
	}
	if len(g.job) > wire.MaxName || strings.ContainsFunc(g.job, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		g.job = ""
	}
	return g
}

// inJob reports whether a scheduler has started us, so that the host is not
// ours but for what was granted.
func (g granted) inJob() bool { return g.job != "" }

// limit returns the wall time that the agent has, 0 without an end.
func (g granted) limit(b *Boot) time.Duration {
	limit := time.Duration(b.Walltime)
	if g.left > 0 && (limit == 0 || g.left < limit) {
		limit = g.left
	}
	return limit
}

// offer fits what the boot record wants offered to what the host lets us use
// and to what was granted: a scheduler that says nothing of cores and binds
// nobody to some has given one.
func (g granted) offer(b *Boot, c worker.Capacity, gpus int) wire.Offer {
	cores, memory := max(c.Cores, 1), c.Memory/10*9
	if g.inJob() {
		switch {
		case g.cores > 0:
			cores = min(cores, g.cores)
		case c.Machine <= c.Cores:
			cores = max(1, min(cores, b.Cores))
		}
		switch {
		case g.memory > 0 && (memory == 0 || g.memory < memory):
			memory = g.memory
		case g.memory == 0 && c.Machine > cores && !c.MemoryLimited:
			memory = memory / int64(c.Machine) * int64(cores)
		}
	}
	o := wire.Offer{
		Slots:  uint32(b.Slots),
		Cores:  uint32(cores),
		Memory: memory,
		Disk:   c.Disk,
		GPUs:   uint32(gpus),
	}
	// What the boot record says bounds what was granted. On a host of the
	// user's own it is taken at its word.
	if b.Cores > 0 && (!g.inJob() || b.Cores < cores) {
		o.Cores = uint32(b.Cores)
	}
	if b.Memory > 0 && (!g.inJob() || memory == 0 || b.Memory < memory) {
		o.Memory = b.Memory
	}
	if b.Disk > 0 {
		o.Disk = b.Disk
	}
	if o.Slots == 0 {
		o.Slots = o.Cores
	}
	return o
}

// devices finds the GPUs that are ours to use: those that were granted by name,
// or else those of the host, as long as it is not a scheduler's that granted
// none. More than limit are left to others; 0 is no limit.
func (g granted) devices(root string, lookup func(string) (string, bool), limit int) []worker.GPU {
	var found []worker.GPU
	named := false
	for _, name := range []string{"GAT_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} {
		if list, ok := lookup(name); ok {
			found, named = parseGPUs(list), true
			break
		}
	}
	if !named && (!g.inJob() || limit > 0) {
		found = worker.HostGPUs(root)
	}
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	return found[:min(len(found), maxGPUs)]
}

// parseGPUs reads a list of devices as CUDA_VISIBLE_DEVICES has it: what
// follows an invalid one does not count.
func parseGPUs(list string) []worker.GPU {
	var found []worker.GPU
	for id := range strings.SplitSeq(list, ",") {
		id = strings.TrimSpace(id)
		if !isGPU(id) {
			break
		}
		gpu := worker.GPU{CUDA: id, ROCR: id}
		twice := false
		for _, f := range found {
			twice = twice || f == gpu
		}
		if !twice && len(found) < maxGPUs {
			found = append(found, gpu)
		}
	}
	return found
}

// isGPU reports whether a word names a device: a number, or a name that begins
// with its kind and has a number in it, such as GPU-1a2b and MIG-GPU-1a2b/1/0.
func isGPU(id string) bool {
	if len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_/.:", r))
	}) {
		return false
	}
	if _, err := strconv.ParseUint(id, 10, 32); err == nil {
		return true
	}
	return strings.HasPrefix(id, "GPU-") || strings.HasPrefix(id, "MIG-")
}

// environ is the environment that workers start from: ours, without what a
// scheduler's job was told for us alone.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GAT_") })
}
