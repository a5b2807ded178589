package pilot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// What a hub knows of its grow order it keeps in a file beside its socket, so that
// a hub that takes its place, after a crash, follows the order and can tell what was
// done under it. The file holds the time of the order by the wall clock, the order,
// and what was done.

// maxKept is the size of that file at most, in bytes.
const maxKept = 2*wire.MaxFrame + 64

// keptPath is where a hub keeps its grow order; empty for one without a socket.
func (r *resident) keptPath() string {
	if r.boot.Socket == "" {
		return ""
	}
	return filepath.Join(r.dir.path, r.boot.Socket+".grow")
}

// keepGrowth writes down what is known of the order. The grower's lock is held.
func (r *resident) keepGrowth() {
	path := r.keptPath()
	if path == "" {
		return
	}
	var text bytes.Buffer
	err := r.grow.now.write(&text, bootTime(), time.Now())
	if err == nil {
		err = replaceFile(path, text.Bytes())
	}
	if err != nil {
		r.log.Warn("grow order not kept", "error", err)
	}
}

// growAgain takes up the order that a hub before this one was given.
func (r *resident) growAgain() {
	path := r.keptPath()
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow|openNoWait, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var old *growth
	if err == nil {
		old, err = readGrowth(io.LimitReader(f, maxKept), bootTime(), time.Now())
		f.Close()
	}
	if err != nil {
		r.log.Warn("grow order not known any more", "error", err)
		return
	}
	g := &r.grow
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now != nil || g.closed {
		return // a newer one was quicker
	}
	g.now = old
	g.ticks.Go(func() { r.growOn(r.ctx) })
	r.log.Info("grow order of a hub before", "seq", old.order.Seq, "submitted", old.done.Submitted, "cancelled", old.done.Cancelled)
}

// write writes what is to be kept of a growth.
func (g *growth) write(w io.Writer, now time.Duration, wall time.Time) error {
	if err := binary.Write(w, binary.BigEndian, wall.Add(g.given-now).UnixNano()); err != nil {
		return err
	}
	if err := wire.WriteFrame(w, &g.order); err != nil {
		return err
	}
	return wire.WriteFrame(w, g.report())
}

// readGrowth reads what write has written, perhaps before a reboot. What the scheduler
// said of jobs that may not be over is forgotten.
func readGrowth(r io.Reader, now time.Duration, wall time.Time) (*growth, error) {
	var given int64
	if err := binary.Read(r, binary.BigEndian, &given); err != nil {
		return nil, fmt.Errorf("time of the grow order: %w", err)
	}
	first, err := wire.ReadFrame(r, 0)
	if err != nil {
		return nil, err
	}
	second, err := wire.ReadFrame(r, 0)
	if err != nil {
		return nil, err
	}
	order, ok1 := first.(*wire.GrowOrder)
	done, ok2 := second.(*wire.Grown)
	if !ok1 || !ok2 || order.Seq == 0 || order.Seq != done.Seq {
		return nil, errors.New("not a grow order and what was done")
	}
	g := newGrowth(now-max(0, wall.Sub(time.Unix(0, given))), *order)
	g.jobs = nil
	for _, j := range done.Jobs {
		if j.State != wire.GrowDone {
			j.State = wire.GrowUnknown
		}
		g.jobs = append(g.jobs, growJob{GrowJob: j})
	}
	g.done = *done
	g.done.Jobs = nil
	return g, nil
}
