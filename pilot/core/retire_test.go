package core_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// A launcher's links to two pilots cross their hub, whose machine dies; another
// site's hub serves them. One link crosses that hub at once, the other leads
// nowhere and nobody sees it. Both pilots leave when they are told to, and only
// the dead link is given up.
func TestRetireOverDeadLink(t *testing.T) {
	t.Parallel()
	w := clusters(t, 2, map[string]string{"a": "L", "b": "L"})
	w.direct = func(a, b string) (time.Duration, bool) {
		return 8 * time.Millisecond, a != "L" && b != "L" && (strings.HasPrefix(a, "hub") || strings.HasPrefix(b, "hub"))
	}
	w.run(time.Minute)
	for _, pilot := range []string{"a0", "a1"} {
		if _, ok := w.delays[pair(pilot, "hub-b")]; !ok {
			t.Fatalf("%s has no second hub", pilot)
		}
		w.linkOver("L", pilot)
	}
	w.run(time.Second)
	w.kill("hub-a")
	dead, gaveUp := true, []string{}
	w.lose = func(from, to string, _ wire.Message) bool { return dead && pair(from, to) == pair("L", "a0") }
	w.silent = func(from, to string) {
		if from != "L" {
			return
		}
		gaveUp = append(gaveUp, to)
		dead = dead && to != "a0"
		delete(w.routed, pair(from, to))
		w.after(1, func() { w.do(from, func(n *core.Node) { n.LinkDown(w.now, w.peers[to].ID) }) })
	}
	w.run(20 * time.Second)
	if len(gaveUp) > 0 {
		t.Fatalf("the launcher has given up the links to %v, which it does not need", gaveUp)
	}
	w.do("L", func(n *core.Node) { n.Retire(w.now, "", "the run is over") })
	w.run(9 * time.Second)
	for _, pilot := range []string{"a0", "a1"} {
		if w.node(pilot) != nil {
			t.Errorf("%s is left", pilot)
		}
	}
	if len(gaveUp) != 1 || gaveUp[0] != "a0" {
		t.Errorf("the launcher has given up the links to %v, want a0", gaveUp)
	}
	w.run(10 * time.Second)
	for id, name := range w.names {
		if n := w.nodes[id]; n != nil && name != "L" {
			t.Errorf("%s is left", name)
		}
	}
}
