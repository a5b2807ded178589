package launcher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
	"github.com/zorilla-grid/zorilla/staging"
)

// Bounds on the end of a run.
const (
	cleanTimeout  = 10 * time.Second // final clean-up of a site, all in parallel
	haltPatience  = 4 * time.Second  // of it for what is being made to be made no further
	innerPatience = 4 * time.Second  // of it for the hosts behind a site's own: that one is cleaned in any case
	leavePatience = 3 * time.Second  // for agents to leave by themselves
	stopPatience  = 30 * time.Second // for a job that was cancelled gracefully to end
)

// nodeSocket is the name of this node's own socket in the run's directory.
const nodeSocket = "node.sock"

// A session is one run under way: its network, its sites and its job.
type session struct {
	job   Job
	opts  Options
	app   runtimes.App
	id    wire.SessionID
	jobID wire.JobID
	log   *slog.Logger
	began time.Time

	run    *RunDir
	polls  *pollStore    // what queueing systems answered
	gate   gat.Gate      // for the logins to all sites
	turn   chan struct{} // held while the user is asked something
	out    *Out
	events *emitter

	authority *transport.Authority
	signer    *transport.Signer
	ep        *transport.Endpoint
	agent     *pilot.Agent
	socket    string // of this node, for the pilots on this machine
	pilots    *bundle.Finder

	sink  *outputs
	sites []*siteRun

	deploys sync.WaitGroup // bringing up sites
	wg      sync.WaitGroup // the agent and the listener

	supply *supply
	life   context.Context    // of the network: ends last
	work   context.Context    // of bringing things up: ends when the job has ended
	ended  chan core.JobEnded // takes one value
	isOver atomic.Bool        // the job has ended

	warnings map[string]int // how often each warning about a worker came; the loop's own
	wishes   wishes
	mu       sync.Mutex
	redialer AskFunc // who logs in again, while somebody does
}

// over reports whether the job has ended.
func (s *session) over() bool { return s.isOver.Load() }

func newSession(j Job, opts Options) *session {
	s := &session{job: j, opts: opts, began: time.Now(), log: opts.Log, ended: make(chan core.JobEnded, 1), gate: gat.NewGate(maxLogins), turn: make(chan struct{}, 1),
		wishes: wishes{make(chan struct{}), make(chan struct{})}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var five [5]byte
	rand.Read(five[:])
	s.id = wire.SessionIDOf(five)
	rand.Read(s.jobID[:])
	return s
}

// main runs the job and leaves nothing behind.
func (s *session) main(ctx context.Context, stop Stopper) Result {
	if err := s.check(); err != nil {
		return s.refuse(OutcomeUsage, ExitUsage, err)
	}
	if err := CapacityOf(s.job, s.opts.Sites, nil).Err(); err != nil {
		return s.refuse(OutcomeSites, ExitSites, err)
	}
	if err := s.open(); err != nil {
		return s.refuse(OutcomeUsage, ExitUsage, err)
	}
	defer s.run.Close()
	defer s.out.Close()

	// The network outlives the user's patience: clean-up needs it.
	life, die := context.WithCancel(context.WithoutCancel(ctx))
	defer die()
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	s.life, s.work = life, work
	s.events.emit(RunStarted{App: s.job.App, Workers: s.job.Workers, Min: s.job.Min, Cores: s.job.Cores, Out: s.out.Path, Sites: siteNames(s.opts.Sites)})
	for _, text := range s.opts.Warnings {
		s.events.emit(Warned{Text: text})
	}
	control, err := ServeControl(s.run, Controls{Cancel: s.cancel, Redial: s.redial, Overlay: s.overlay})
	if err != nil {
		s.events.emit(Warned{Text: err.Error()})
	} else {
		defer control.Close()
	}
	var end core.JobEnded
	err = s.interruptible(work, stop, s.begin)
	switch {
	case err == nil:
		end, err = s.wait(work, stop)
	case errors.Is(err, errInterrupted):
		end, err = interrupted, nil
	}
	cancel()
	s.finish(die)
	return s.conclude(end, err)
}

// check finds what is wrong with the job before anything is made.
func (s *session) check() (err error) {
	j := &s.job
	if j.Workers < 1 {
		return fmt.Errorf("%d workers wanted: give a number of 1 or more", j.Workers)
	}
	if j.Min == 0 {
		j.Min = j.Workers
	}
	if j.Min < 1 || j.Min > j.Workers {
		return fmt.Errorf("at least %d of %d workers wanted: give a number from 1 to %d", j.Min, j.Workers, j.Workers)
	}
	if len(s.opts.Sites) == 0 {
		return errors.New("no sites")
	}
	kind, err := runtimes.ParseKind(j.Runtime)
	if err != nil {
		return err
	}
	if s.app, err = runtimes.InspectAs(j.App, kind); err != nil {
		return err
	}
	for _, glob := range j.Outputs {
		if err := staging.CheckGlob(glob); err != nil {
			return err
		}
	}
	return nil
}

// open makes the run's places on this machine.
func (s *session) open() error {
	state, err := OpenState(s.opts.State)
	if err != nil {
		return err
	}
	if s.polls, err = state.polls(); err != nil {
		return err
	}
	if s.out, err = CreateOut(s.opts.Out, string(s.id)); err != nil {
		return err
	}
	dir, _ := os.Getwd()
	s.run, err = state.Create(Begun{
		Run:     string(s.id),
		Time:    s.began,
		Command: s.opts.Command,
		Dir:     dir,
		Out:     s.out.Path,
		PID:     os.Getpid(),
		Version: s.opts.Version,
		User:    userName(),
		Machine: machineName(),
	})
	if err != nil {
		s.out.Discard()
		s.out.Close()
		return err
	}
	s.events = newEmitter(string(s.id), s.run.Journal, s.opts.Events)
	return nil
}

// begin brings the session up and submits the job. Sites come up in parallel
// with the reading of the inputs.
func (s *session) begin(ctx context.Context) error {
	if err := s.network(s.life); err != nil {
		return err
	}
	s.pilots = bundle.New(bundle.Options{Pilot: s.opts.Pilot, Log: func(text string) { s.events.emit(Warned{Text: text}) }})
	s.supply = newSupply(s)
	for _, site := range s.opts.Sites {
		r, err := newSiteRun(s, site)
		if err != nil {
			return err
		}
		s.sites = append(s.sites, r)
		s.supply.add(r)
	}
	for _, r := range s.sites {
		s.deploys.Go(func() { r.run(s.work) })
	}
	s.wg.Go(func() { s.tellTransfers(s.life) })
	set, err := staging.Build(ctx, s.inputs(), staging.BuildOptions{})
	if err != nil {
		return &usageError{err}
	}
	s.agent.Library().Add(s.jobID, promised{set, s.supply.abandon})
	spec := s.spec(set)
	answer := make(chan error, 1)
	if err := s.agent.Call(ctx, func(now time.Duration, n *core.Node) { answer <- n.Submit(now, spec) }); err != nil {
		return err
	}
	if err := <-answer; err != nil {
		return &usageError{err}
	}
	s.supply.open()
	return nil
}

// tellTransfers tells once a second what has moved to and from the sites.
func (s *session) tellTransfers(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := make(map[string]Transferred)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, r := range s.sites {
			if t := r.transferred(); t != told[t.Site] && (t.Up > 0 || t.Down > 0) {
				told[t.Site] = t
				s.events.emit(t)
			}
		}
	}
}

// launcherSite is the site of the launcher itself.
const launcherSite = "launcher"

// network makes the session's CA and this machine's node.
func (s *session) network(ctx context.Context) (err error) {
	if s.authority, err = transport.NewAuthority(s.id, 0); err != nil {
		return err
	}
	identity, err := s.authority.Identity(wire.RoleLauncher, launcherSite)
	if err != nil {
		return err
	}
	s.signer = s.authority.Signer(identity, s.log)
	s.sink = newOutputs(s)
	s.agent = pilot.NewAgent(s, s.log)
	cfg := transport.Config{Identity: identity, Signer: s.signer, Logger: s.log, Handlers: s.agent.Handlers(), Network: transport.SystemNetwork(), NoListen: true}
	cfg.Handlers[wire.StreamOutput] = s.sink.serve
	if s.ep, err = transport.New(cfg); err != nil {
		return err
	}
	s.socket = filepath.Join(s.run.Path, nodeSocket)
	l, err := pilot.ListenUnix(s.socket)
	if err != nil {
		return err
	}
	s.wg.Go(func() {
		if err := s.ep.Serve(ctx, l, transport.Local); err != nil && ctx.Err() == nil {
			s.log.Error("listening ended", "error", err)
		}
		l.Close()
		os.Remove(s.socket)
	})
	node := pilot.Member(identity)
	node.Lease = s.lease()
	node.Name, _ = os.Hostname()
	for _, site := range s.opts.Sites {
		if site.Local() {
			node.Near = append(node.Near, site.Name)
		}
	}
	s.wg.Go(func() { s.agent.Run(ctx, s.ep, node) })
	return nil
}

func (s *session) lease() time.Duration {
	if s.opts.Lease > 0 {
		return s.opts.Lease
	}
	return core.DefaultLease
}

// finish takes everything down, at every site at once, within bounds.
func (s *session) finish(die context.CancelFunc) {
	s.isOver.Store(true)
	ctx, done := context.WithTimeout(context.Background(), cleanTimeout)
	defer done()
	// What is being made is made no further, and known, before it is removed.
	stopped := make(chan struct{})
	go func() { s.deploys.Wait(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(haltPatience):
	}
	if s.agent != nil {
		s.agent.Call(ctx, func(now time.Duration, n *core.Node) { n.Cancel(now, s.jobID, job.Interrupted, false) })
	}
	var wg sync.WaitGroup
	for _, r := range s.sites {
		wg.Go(func() { r.finish(ctx) })
	}
	wg.Wait()
	die()
	if s.ep != nil {
		s.ep.Close()
	}
	if s.pilots != nil {
		s.pilots.Close()
	}
	s.wg.Wait()
	if s.sink != nil {
		s.sink.close()
	}
	for _, r := range s.sites {
		r.close()
	}
}

// A usageError is an error in what the user gave.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// conclude writes the report and says how the run ended.
func (s *session) conclude(end core.JobEnded, err error) Result {
	r := Result{Run: string(s.id), Out: s.out.Path, Outcome: Outcome(end.Outcome.String()), Exit: end.Exit, Err: err}
	if _, ok := errors.AsType[*usageError](err); ok {
		r.Outcome, r.Exit = OutcomeUsage, ExitUsage
	} else if end.Outcome == 0 {
		r.Outcome, r.Exit = OutcomeSites, ExitSites
	}
	if r.Err == nil && end.Reason != "" && r.Outcome != OutcomeOK {
		r.Err = errors.New(end.Reason)
	}
	over := RunEnded{Outcome: r.Outcome, Exit: r.Exit, Out: r.Out, Wall: time.Since(s.began).Seconds(), Idle: end.Idle.Seconds()}
	if r.Err != nil {
		over.Error = r.Err.Error()
	}
	s.countWarnings()
	s.events.emit(over)
	s.events.close()
	r.Report = s.run.Journal.Report()
	r.Report.Command, r.Report.Version = s.opts.Command, s.opts.Version
	r.Report.Leftovers = LeftoversOf(s.run.Ledger.All(), s.reasonOf)
	if err := s.out.WriteReport(r.Report); err != nil {
		r.Err = errors.Join(r.Err, err)
	}
	s.run.operations.flush()
	if err := s.out.WriteReceipt(readReceipt(s.run.Name, s.run.Path, true)); err != nil {
		r.Err = errors.Join(r.Err, err)
	}
	return r
}

// reasonOf says why a thing was not removed.
func (s *session) reasonOf(m Made) string {
	for _, r := range s.sites {
		if r.site.Name == m.Site {
			return r.uncleanReason()
		}
	}
	return ""
}

// refuse ends a run before it began.
func (s *session) refuse(outcome Outcome, exit int, err error) Result {
	return Result{Run: string(s.id), Outcome: outcome, Exit: exit, Err: err}
}

func siteNames(sites []*Site) []string {
	var names []string
	for _, s := range sites {
		names = append(names, s.Name)
	}
	return names
}

// oneLine makes an error fit for a line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
