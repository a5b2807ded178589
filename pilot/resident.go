package pilot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// Times in the life of an agent on a resource.
const (
	drainGrace     = 5 * time.Second  // from a wish to end to the end of the workers
	walltimeMargin = 30 * time.Second // an agent begins to leave this long before its wall time is over
	walltime       = "walltime"       // and says so
	leastPriority  = 19               // of processes that are to disturb nobody
	steady         = 10 * time.Second // a connection to a hub that held this long was a good one

	callPatience   = 10 * time.Second       // for a call to a hub to be taken
	urgentPatience = time.Second            // while one is feared for
	urgentPause    = 300 * time.Millisecond // between such calls
	urgency        = 10 * time.Second       // by then it is over, one way or the other
)

// A resident is an agent on a resource: it lives in a session directory, joins
// the session and stays until it has no more work, is asked to leave, or its
// lease ends.
type resident struct {
	boot    *Boot
	self    string // this program's name
	program string // a path that it can be started by
	given   granted
	permit  *permit
	gpus    []worker.GPU
	log     *slog.Logger
	file    *logFile
	dir     *sessionDir
	agent   *Agent
	ep      *transport.Endpoint
	ctx     context.Context // ends when the agent has left
	began   time.Time
	told    signals

	admits []string      // names of the join tokens in force; the loop's own
	silent chan struct{} // a hub is not heard; holds one

	grow       grower
	hubs       hubList
	publishing sync.Mutex // held while files are written
	mu         sync.Mutex
	listeners  []net.Listener
}

// reside lives the whole life of an agent. Its error says why it could not.
func reside(ctx context.Context, boot *Boot, policy, self, program string) (err error) {
	began := time.Now()
	told := catchSignals()
	defer told.release()
	given := grantedBy(os.Getenv)
	permit, err := permission(boot, policy)
	if denial, ok := errors.AsType[*Denial](err); ok && given.inJob() {
		herald(ctx, boot, given, denial) //nolint:errcheck // the exit status says it, too
	}
	if err != nil {
		return err
	}
	defer permit.release()
	nice := boot.Nice
	if permit.cores > 0 && !given.inJob() {
		nice = leastPriority // the host is not ours alone, as its policy says
	}
	if nice != 0 {
		renice(nice) //nolint:errcheck // being nice is a courtesy, not a condition
	}
	found := boot.Base == ""
	if found {
		places := []string{boot.Scratch}
		if boot.Scratch == "" {
			places = scratchPlaces(os.Getenv)
		}
		here := *boot
		if here.Base, err = findBase(ctx, places); err != nil {
			return err
		}
		if here.Socket != "" {
			here.Socket = fmt.Sprintf("%s-%d", here.Socket, os.Getpid()) // its boot file may be that of others here, too
		}
		boot = &here
	}
	dir, err := enterSession(boot.Base, boot.Session)
	if err != nil {
		return err
	}
	dismiss := func() {}
	defer func() {
		err = errors.Join(err, dir.leave())
		dismiss()
	}()
	if found {
		if dismiss, err = startWarden(program, self, dir); err != nil {
			dismiss = func() {}
			return fmt.Errorf("warden: %w", err)
		}
		// Who looks for us finds our socket where we are.
		if err := os.Chdir(dir.path); err != nil {
			return err
		}
		defer os.Chdir("/")
	}
	mark, err := dir.sign()
	if err != nil {
		return err
	}
	defer os.Remove(mark)
	file, err := openLog(dir.own("log"))
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer file.Close()
	r := &resident{boot: boot, self: self, program: program, given: given, permit: permit, dir: dir, file: file, log: newLogger(file, boot.Verbose), began: began, told: told, silent: make(chan struct{}, 1)}
	r.log.Info("agent starts", "version", Version(), "role", boot.Role, "site", boot.Site, "session", boot.Session, "pid", os.Getpid(), "base", boot.Base, "job", given.job)
	sweeping, stop := context.WithCancel(ctx)
	var swept sync.WaitGroup
	swept.Go(func() { r.sweep(sweeping) })
	swept.Go(func() { r.stayPermitted(sweeping, policy) })
	err = r.live(ctx)
	stop()
	swept.Wait()
	if err != nil {
		r.log.Error("agent ends", "error", err)
	}
	return err
}

// sweep removes what agents that were killed left on this host.
func (r *resident) sweep(ctx context.Context) {
	mates, err := worker.Sweep(filepath.Join(r.dir.path, lockName))
	removed, e := sweepBase(ctx, r.boot.Base)
	if removed, err = append(removed, mates...), errors.Join(err, e); err != nil || len(removed) > 0 {
		r.log.Info("swept", "removed", removed, "error", err)
	}
}

// live joins, works and leaves.
func (r *resident) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ctx = ctx
	r.agent = NewAgent(nil, r.log)
	request, err := r.boot.request()
	if err != nil {
		return err
	}
	hub := r.boot.Role == wire.RoleHub.String()
	// A hub's host is a login node: no port of it is opened for a direct link.
	cfg := transport.Config{Logger: r.log, Handlers: r.agent.Handlers(), Network: transport.SystemNetwork(), NoListen: hub, Limits: r.permit.limits(r.boot)}
	cfg.Handlers[wire.StreamLog] = r.serveLog
	r.hubs.told, r.hubs.file = r.boot.Hubs, r.boot.HubsFile
	called := len(r.boot.Hubs) == 0 && r.boot.HubsFile == "" // whoever admits us comes to our socket
	if called {
		cfg.Join = &request
	}
	if hub {
		cfg.Handlers[wire.StreamDial] = r.serveDial
		cfg.Handlers[wire.StreamListen] = r.serveListen
		cfg.Handlers[wire.StreamGrow] = r.serveGrow
	}
	if r.ep, err = transport.New(cfg); err != nil {
		return err
	}
	defer r.ep.Close()
	if r.boot.Socket != "" {
		l, err := ListenUnix(filepath.Join(r.dir.path, r.boot.Socket))
		if err != nil {
			return err
		}
		defer l.Close()
		r.serve(l, transport.Local)
	}

	admission, stopJoin := context.WithCancelCause(ctx)
	defer stopJoin(nil)
	taken := newNotice()
	stop := r.told.tell(func(name string, before int) {
		reason := "told to end by " + name
		taken.give(reason)
		stopJoin(errors.New(reason))
		if before == 0 {
			r.drain(reason)
		} else {
			r.abandon(reason + " again")
		}
	}, func(name string) {
		r.log.Info("warned of the end", "signal", name)
		taken.give(walltime)
		stopJoin(errors.New("the wall time ended"))
		r.drain(walltime)
	})
	defer stop()
	late := time.AfterFunc(time.Duration(r.boot.Lease), func() { stopJoin(errors.New("the lease ended")) })
	defer late.Stop()
	if d, why := r.limit(); d > 0 {
		drain, abandon := lastOrders(d - time.Since(r.began))
		leave := time.AfterFunc(drain, func() {
			stopJoin(errors.New("the wall time ended"))
			r.drain(why)
		})
		defer leave.Stop()
		flee := time.AfterFunc(abandon, func() { r.abandon(why) })
		defer flee.Stop()
	}
	identity, signer, err := r.join(admission, request, called)
	if err != nil {
		return fmt.Errorf("join the session: %w", err)
	}
	late.Stop()
	node := r.config(identity)
	if hub {
		r.listenAgain(ctx)
		r.growAgain()
		r.agent.tokens = func(list []wire.Token) { r.replaceTokens(signer, list, identity.Now()) }
	} else {
		if r.agent.crew, err = newCrew(r.agent, r.dir, worker.Config{Guard: []string{r.self, "guard"}, Program: r.program}, node.Offer, r.gpus, r.log); err != nil {
			return err
		}
		defer r.agent.crew.close()
		if r.given.inJob() {
			r.agent.crew.notice = taken
		}
		r.agent.silent = func() {
			select {
			case r.silent <- struct{}{}:
			default:
			}
		}
	}
	if !called {
		if err := r.ep.Admit(identity, nil); err != nil {
			return err
		}
		var wg sync.WaitGroup
		wg.Go(func() { r.stayConnected(ctx) })
		wg.Go(func() { r.stayAdmitted(ctx, request, identity) })
		defer wg.Wait()
		defer cancel()
	}
	err = r.agent.Run(ctx, r.ep, node)
	if r.agent.left == core.LeaseOver {
		cancel() // what is done under orders ends
		r.cancelRest()
		r.abolish()
	}
	return err
}

// limit returns how long this agent may live, 0 for ever, and what it says when
// that is over.
func (r *resident) limit() (d time.Duration, why string) {
	d, why = r.given.limit(r.boot), walltime
	if most := r.permit.Lifetime; most > 0 && (d == 0 || most < d) {
		d, why = most, Ended
	}
	return d, why
}

// lastOrders says when, of a wall time, an agent begins to leave and when it
// waits for nobody any more, so that it is gone before it is killed.
func lastOrders(walltime time.Duration) (drain, abandon time.Duration) {
	margin := min(walltimeMargin, walltime/2)
	return walltime - margin, walltime - margin*2/3
}

// isHangUp reports whether an error of reaching the one hub says that it was a
// program on this machine which is gone for good.
func (r *resident) isHangUp(err error) bool {
	return r.boot.HangUp && (isRefused(err) || errors.Is(err, os.ErrNotExist))
}

// stayConnected keeps a carrier to one of the hubs until ctx ends. When the
// hub is not heard over it, it is called again, in short intervals: after a
// break of the network a connection can be silent for much longer than the
// break was, and what is silent for long counts as dead.
func (r *resident) stayConnected(ctx context.Context) {
	const first = 10 * time.Millisecond
	wait := first
	var urgent time.Time // until then
	var silent net.Conn  // the connection before, if it may be alive
	for ctx.Err() == nil {
		reached := false
		for hubs := slices.Clone(r.hubs.list()); len(hubs) > 0 && ctx.Err() == nil; {
			patience := callPatience
			if time.Now().Before(urgent) {
				patience = urgentPatience
			}
			conn, address, closed, err := r.connectAny(ctx, hubs, patience)
			if err != nil {
				if r.isHangUp(err) {
					r.abandon("the launcher is gone")
					return
				}
				r.log.Debug("no hub reached", "error", err)
				break
			}
			since := time.Now()
			reached = true
			select {
			case err = <-closed:
			case <-r.silent:
				err = errSilent
				if silent != nil {
					silent.Close() // two at a time are enough
				}
				silent = conn
				urgent = time.Now().Add(urgency)
			case <-ctx.Done():
				return
			}
			if time.Since(since) > steady {
				wait = first
			}
			r.log.Info("connection to hub ended", "hub", address, "error", err)
			hubs = slices.DeleteFunc(hubs, func(h string) bool { return h == address })
		}
		if !reached {
			r.look()
		}
		if time.Now().Before(urgent) {
			wait = min(wait, urgentPause)
		}
		pause(ctx, jitter(wait))
		wait = min(wait*2, 10*time.Second)
	}
}

// errSilent says why a hub is called that there is a connection to.
var errSilent = errors.New("nothing is heard over it")

// connectAny connects to the first of some hubs that answers, within a time. The
// channel gets a value when the connection ends.
func (r *resident) connectAny(ctx context.Context, hubs []string, patience time.Duration) (conn net.Conn, address string, closed <-chan error, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var errs []error
	for hubs = slices.Clone(hubs); len(hubs) > 0; {
		c, err := race(ctx, hubs, dialAddress)
		if err != nil {
			errs = append(errs, err)
			break
		}
		ended := make(chan error, 1)
		if _, err = r.ep.Connect(ctx, c.conn, c.kind, transport.Options{OnClose: func(err error) { ended <- err }}); err == nil {
			return c.conn, c.address, ended, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.address, err))
		hubs = slices.DeleteFunc(hubs, func(h string) bool { return h == c.address })
	}
	return nil, "", nil, errors.Join(errs...)
}

// serve takes connections until the agent ends.
func (r *resident) serve(l net.Listener, kind transport.CarrierKind) {
	go func() {
		if err := r.ep.Serve(r.ctx, l, kind); err != nil && r.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			r.log.Error("listening ended", "address", l.Addr(), "error", err)
		}
	}()
}

// drain lets the node take no new work and leave.
func (r *resident) drain(reason string) {
	r.agent.Do(func(now time.Duration, n *core.Node) { n.Drain(now, reason, drainGrace) })
}

// abandon lets the node end its work and leave: nobody wants what it has.
func (r *resident) abandon(reason string) {
	r.agent.Do(func(now time.Duration, n *core.Node) { n.Abandon(now, reason) })
}

// config says what this node is and offers.
func (r *resident) config(id *transport.Identity) core.Config {
	b := r.boot
	cfg := Member(id)
	cfg.Name = b.Name
	cfg.Platform = runtime.GOOS + "/" + runtime.GOARCH
	cfg.Lease, cfg.Idle = time.Duration(b.Lease), time.Duration(b.Idle)
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname()
	}
	if id.Role == wire.RolePilot {
		capacity, err := worker.MeasureCapacity(r.dir.path)
		if err != nil {
			r.log.Warn("capacity not known", "error", err)
		}
		r.gpus = r.given.devices("/", os.LookupEnv, b.GPUs)
		cfg.Offer = r.permit.fit(r.given.offer(b, capacity, len(r.gpus)))
		cfg.Job, cfg.Part = r.given.job, r.given.part
		if limit, _ := r.limit(); limit > 0 {
			cfg.Until = bootTime() + limit - time.Since(r.began)
		}
	}
	return cfg
}

func dialAddress(ctx context.Context, s string) (net.Conn, transport.CarrierKind, error) {
	network, address, err := splitAddress(s)
	if err != nil {
		return nil, 0, err
	}
	if network == "unix" {
		conn, err := dialUnix(ctx, address)
		if err != nil {
			return nil, 0, err
		}
		return conn, transport.Local, nil
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	return conn, transport.TCP, err
}
