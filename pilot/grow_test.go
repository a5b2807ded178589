//go:build linux

package pilot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// A fakeQueue is a queueing system made of files: jobs are files that hold
// their states.
type fakeQueue struct {
	t   *testing.T
	dir string
}

func (q *fakeQueue) order(seq uint64, pilots int, jobs ...string) *wire.GrowOrder {
	at := "cd " + q.dir + " || exit\n"
	return &wire.GrowOrder{Seq: seq, Pilots: uint32(pilots), Most: 8, Every: 200 * time.Millisecond, Away: 3500 * time.Millisecond, TTL: time.Hour, Jobs: jobs,
		Submit: at + `echo "banner of the site"
i=0
while [ $i -lt $1 ]; do
	id=new$(ls | wc -l)
	echo queued >$id
	echo $id
	i=$((i + 1))
done
`,
		Status: at + `for id in "$@"; do [ ! -f "$id" ] || echo "$id $(cat "$id")"; done`,
		Cancel: at + `for id in "$@"; do echo done >"$id"; done`,
	}
}

func (q *fakeQueue) set(id, state string) {
	q.t.Helper()
	if err := os.WriteFile(filepath.Join(q.dir, id), []byte(state+"\n"), 0o600); err != nil {
		q.t.Fatal(err)
	}
}

// states lists the jobs and their states, by name.
func (q *fakeQueue) states() string {
	q.t.Helper()
	var list []string
	for _, name := range names(q.t, q.dir) {
		b, err := os.ReadFile(filepath.Join(q.dir, name))
		if err != nil {
			q.t.Fatal(err)
		}
		list = append(list, name+" "+strings.TrimSpace(string(b)))
	}
	return strings.Join(list, ", ")
}

func (w *world) grow(hub wire.NodeID, o *wire.GrowOrder) *wire.Grown {
	w.t.Helper()
	s, m, err := ask(w.t.Context(), w.ep, hub, wire.StreamGrow, o)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Close()
	return m.(*wire.Grown)
}

// TestGrow has a launcher give an order and fall silent: its hub replaces what
// is missing, and when the launcher does not come back cancels what waits.
func TestGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := &fakeQueue{t, t.TempDir()}
	shared := filepath.Join(t.TempDir(), "hubs")
	p, hub := w.publisher(8*time.Second, shared)
	if got := w.grow(hub, &wire.GrowOrder{}); got.Seq != 0 || len(got.Jobs) > 0 {
		t.Errorf("without an order the hub has done %+v", got)
	}
	q.set("1", "running")
	q.set("2", "queued")
	q.set("3", "done")
	if got := w.grow(hub, q.order(2, 5, "1", "2", "3")); got.Seq != 2 || len(got.Jobs) != 3 || got.Submitted > 0 {
		t.Errorf("an order was answered %+v", got)
	}
	if got := w.grow(hub, q.order(1, 99)); got.Seq != 2 {
		t.Errorf("an older order was answered %+v", got)
	}
	// A job that stays open, of which the hub has told a pilot.
	token := wire.Token{Name: "pilots", Secret: []byte("0123456789abcdef"), Role: wire.RolePilot, Joins: 1, TTL: time.Hour}
	w.call(func(now time.Duration, n *core.Node) error { n.Admit(now, "site", []wire.Token{token}); return nil })
	b := w.boot(wire.RolePilot)
	b.Hubs, b.Slots = []string{"tcp:" + w.listen(hub, "127.0.0.1").Address}, 1
	b.Token, b.Secret = token.Name, fmt.Sprintf("%x", token.Secret)
	w.start(b)
	w.submitSpec(job.Spec{Want: 2, Min: 1, Program: wire.Program{Argv: []string{"/bin/sh", "-c", "sleep 1000"}}})
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
	w.hangUp()
	if said := p.end(patience); p.err != nil {
		t.Errorf("the hub ended with %v: %s", p.err, said)
	}
	if got, want := q.states(), "1 done, 2 done, 3 done, new3 done, new4 done"; got != want {
		t.Errorf("the launcher is gone for good and the queue is %q, want %q", got, want)
	}
}

// TestGrowAfterKill kills a hub that has done something under its order. The one in its
// place knows of it, and goes on when the launcher is away.
func TestGrowAfterKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := &fakeQueue{t, t.TempDir()}
	shared := filepath.Join(t.TempDir(), "hubs")
	first, hub := w.publisher(8*time.Second, shared)
	q.set("1", "running")
	q.set("2", "queued")
	o := q.order(2, 5, "1", "2")
	o.Away = 0 // the launcher is as good as away
	if got := w.grow(hub, o); got.Seq != 2 {
		t.Fatalf("an order was answered %+v", got)
	}
	until(t, "the hub has cancelled what nobody wants", func() bool { return w.grow(hub, &wire.GrowOrder{}).Cancelled == 2 })
	replace := func(old *process) (*process, *wire.Grown) {
		old.cmd.Process.Kill()
		<-old.ended
		var next *process
		next, hub = w.publisher(8*time.Second, shared)
		return next, w.grow(hub, &wire.GrowOrder{})
	}
	second, got := replace(first)
	if got.Seq != 2 || got.Cancelled != 2 || len(got.Jobs) != 2 || got.Jobs[0].ID != "1" || !got.Jobs[1].Cancelled {
		t.Errorf("the next hub has done %+v", got)
	}
	q.set("4", "queued")
	q.set("5", "queued")
	if got := w.grow(hub, q.order(3, 2, "4", "5")); got.Seq != 3 || got.Cancelled != 0 {
		t.Errorf("a new order was answered %+v", got)
	}
	third, got := replace(second)
	if got.Seq != 3 || got.Cancelled != 0 || len(got.Jobs) != 2 {
		t.Errorf("the third hub has done %+v", got)
	}
	w.hangUp()
	if said := third.end(patience); third.err != nil {
		t.Errorf("the hub ended with %v: %s", third.err, said)
	}
	if got, want := q.states(), "1 done, 2 done, 4 done, 5 done"; got != want {
		t.Errorf("the launcher is gone for good and the queue is %q, want %q", got, want)
	}
	if list := names(t, w.base); len(list) > 0 {
		t.Errorf("left are %q", list)
	}
}

// TestGrowRefused: only launchers give orders, and not to pilots.
func TestGrowRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.Idle = Duration(core.Forever)
	w.start(b)
	up := wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	if _, m, err := ask(t.Context(), w.ep, up.Peer.ID, wire.StreamGrow, &wire.GrowOrder{}); err == nil {
		t.Errorf("a pilot answered %+v", m)
	}
}

func TestRunText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		args []string
		out  string
		err  string
	}{
		"arguments":   {`printf '<%s>' "$@"`, []string{"-x", "a b"}, "<-x><a b>", ""},
		"fails":       {"echo some; echo why not >&2; exit 3", nil, "some\n", "exit status 3: why not"},
		"cannot be":   {"if", nil, "", "exit status"},
		"too much":    {"head -c 300000 /dev/zero", nil, strings.Repeat("\x00", maxGrowOut), "printed too much"},
		"leaves some": {"sleep 100 & echo x", nil, "x\n", "WaitDelay"},
	} {
		out, err := runText(t.Context(), c.text, c.args)
		if out != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %.80q, %v; want %.80q and %q", name, out, err, c.out, c.err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	mark := filepath.Join(t.TempDir(), "mark")
	go func() {
		until(t, "it runs", func() bool { return !isGone(mark) })
		stop()
	}()
	began := time.Now()
	if _, err := runText(ctx, fmt.Sprintf("(trap '' TERM; echo > %s; sleep 100) & wait", mark), nil); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("a text that was ended: %v after %v", err, time.Since(began))
	}
}
