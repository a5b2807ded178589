package launcher

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
	"github.com/zorilla-grid/zorilla/staging"
)

// inputs is what every worker finds in its directory: the application under
// its own name and what the user named.
func (s *session) inputs() []staging.Input {
	list := []staging.Input{{Src: s.job.App, Dst: filepath.Base(s.job.App)}}
	for _, in := range s.job.Inputs {
		list = append(list, staging.Input{Src: in.Src, Dst: filepath.ToSlash(in.Dst)})
	}
	if s.job.Stdin != "" {
		list = append(list, staging.Input{Src: s.job.Stdin, Dst: stdinName})
	}
	return list
}

// stdinName is the name of the standard input's file in a worker's directory.
const stdinName = ".zorilla-stdin"

// spec is the job as its primary sees it.
func (s *session) spec(set *staging.Set) job.Spec {
	j := &s.job
	policy, _ := job.ParsePolicy(string(j.OnFailure)) // an empty one is Replace; check has seen the others
	p := wire.Program{
		Argv:    append([]string{filepath.Base(j.App)}, j.Args...),
		Env:     j.Env,
		Runtime: s.app.Kind.String(),
		Java:    uint32(s.app.Java),
		JVM:     j.JVMOpts,
		Root:    set.Root(),
		Holders: []wire.NodeID{s.ep.ID()},
		Outputs: j.Outputs,
		Memory:  j.Memory,
	}
	if j.Stdin != "" {
		p.Stdin = stdinName
	}
	return job.Spec{
		ID:        s.jobID,
		Want:      j.Workers,
		Min:       j.Min,
		Needs:     s.needs(),
		Program:   p,
		OnFailure: policy,
		Retries:   j.Retries,
		Lease:     s.lease(),
		GangWait:  j.GangWait,
	}
}

func (s *session) needs() wire.Requirements {
	return wire.Requirements{
		Cores:     uint32(s.job.Cores),
		Memory:    s.job.Memory,
		Disk:      s.job.Disk,
		GPUs:      uint32(s.job.GPUs),
		Platforms: platformsOf(s.app),
		Runtime:   s.app.Kind.String(),
		Walltime:  max(0, s.job.Walltime-walltimeMargin),
	}
}

// walltimeMargin is how much sooner than the job's limit a pilot may leave that still
// counts as one that stays for all of it.
const walltimeMargin = time.Minute

// platformsOf lists the platforms that an application runs on; none means all.
func platformsOf(a runtimes.App) []string {
	if a.OS == "" {
		return nil
	}
	var list []string
	for machine := range strings.SplitSeq(a.Machine, ",") {
		list = append(list, a.OS+"/"+machine)
	}
	return list
}
