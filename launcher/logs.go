package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Bounds on fetching an agent's log.
const (
	maxAgentLog = 64 << 10 // bytes of its newest part
	logPatience = 3 * time.Second
)

// keepLog puts the newest part of the log of the site's hub, or of a pilot where
// there is no hub, into the run's directory, and says where. It is for when
// something went wrong, and does nothing unless the user wants to know.
func (r *siteRun) keepLog(ctx context.Context) {
	if !r.s.opts.Verbose || !r.logging.TryLock() {
		return // whoever holds it brings the same log
	}
	defer r.logging.Unlock()
	w, ok := r.witness()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	path := filepath.Join(r.s.run.Path, "log-"+r.site.Name)
	data, err := r.s.agentLog(ctx, w.node)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the log of the %s on %s was not to be had: %s", w.role, w.host, oneLine(err))})
		return
	}
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the log of the %s on %s is in %s", w.role, w.host, path)})
}

// agentLog fetches the newest part of an agent's log.
func (s *session) agentLog(ctx context.Context, node wire.NodeID) ([]byte, error) {
	st, err := s.ep.OpenStream(ctx, node, wire.StreamLog)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	stop := context.AfterFunc(ctx, func() { st.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	data, err := io.ReadAll(io.LimitReader(st, maxAgentLog))
	if err == nil && len(data) == 0 {
		err = errors.New("it is empty")
	}
	return data, err
}

// A witness is an agent that may have seen what went wrong at a site.
type witness struct {
	node       wire.NodeID
	role, host string
}

// witness returns the site's hub, or else a pilot that is up.
func (r *siteRun) witness() (witness, bool) {
	r.mu.Lock()
	for _, h := range r.hosts {
		if !h.hub.IsZero() {
			r.mu.Unlock()
			return witness{h.hub, "hub", h.Host}, true
		}
	}
	r.mu.Unlock()
	if p, ok := r.s.supply.pilotOf(r.site.Name); ok {
		return witness{p.ID, "pilot", p.Name}, true
	}
	return witness{}, false
}
