package core_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// clusters are a launcher and some hubs with pilots; parent says behind whom a
// hub is.
func clusters(t *testing.T, pilots int, parents map[string]string) *mesh {
	w := newMesh(t)
	w.add("L", wire.RoleLauncher, "home", nil)
	var sites []string
	for site := range parents {
		sites = append(sites, site)
	}
	slices.Sort(sites)
	for _, site := range sites {
		w.add("hub-"+site, wire.RoleHub, site, nil)
	}
	for _, site := range sites {
		w.link("hub-"+site, parents[site], 10*time.Millisecond)
		for i := range pilots {
			name := fmt.Sprintf("%s%d", site, i)
			w.add(name, wire.RolePilot, site, nil)
			w.link(name, "hub-"+site, 200*time.Microsecond)
		}
	}
	return w
}

// Hubs know the pilots that they serve, launchers all of them, also those of a
// hub behind others; and datagrams find their way over three hubs.
func TestWhoKnowsWhom(t *testing.T) {
	t.Parallel()
	w := clusters(t, 3, map[string]string{"a": "L", "b": "L", "c": "hub-b"})
	w.run(time.Minute)
	names := func(name string) (list []string) {
		for _, p := range w.node(name).Peers() {
			list = append(list, w.names[p.ID])
		}
		slices.Sort(list)
		return list
	}
	for name, want := range map[string][]string{
		"L":     {"a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2", "hub-a", "hub-b", "hub-c"},
		"hub-a": {"L", "a0", "a1", "a2"},
		"hub-b": {"L", "b0", "b1", "b2", "hub-c"},
		"hub-c": {"L", "c0", "c1", "c2", "hub-b"},
	} {
		if got := names(name); !slices.Equal(got, want) {
			t.Errorf("%s knows %v, want %v", name, got, want)
		}
	}
	w.run(time.Minute)
	for _, name := range []string{"a0", "c2"} {
		if got := w.node(name).Stats(w.now).View; got != len(w.nodes)-1 {
			t.Errorf("%s has heard of %d of %d", name, got, len(w.nodes)-1)
		}
	}
}

// A hub's end takes nobody along that has a second one: pilots get one when
// they can, and hubs get links that do not need the launcher.
func TestSecondHub(t *testing.T) {
	t.Parallel()
	w := clusters(t, 2, map[string]string{"a": "L", "b": "L", "c": "L"})
	w.direct = func(a, b string) (time.Duration, bool) {
		return 8 * time.Millisecond, a != "L" && b != "L" && (strings.HasPrefix(a, "hub") || strings.HasPrefix(b, "hub"))
	}
	w.run(time.Minute)
	for _, p := range [][2]string{{"hub-a", "hub-b"}, {"hub-a", "hub-c"}, {"hub-b", "hub-c"}} {
		if _, ok := w.delays[p]; !ok {
			t.Errorf("%s and %s have no link", p[0], p[1])
		}
	}
	before := len(w.events["L"])
	w.kill("hub-a")
	w.run(3 * time.Minute)
	for _, e := range w.events["L"][before:] {
		if d, ok := e.(core.PeersDown); ok && d.Peers[0].Role == wire.RolePilot {
			t.Errorf("%s is taken for dead (%s): its hub is", w.names[d.Peers[0].ID], d.Reason)
		}
	}
	// Both are still heard of, and found over their other hub.
	got := 0
	w.lose = func(_, to string, m wire.Message) bool {
		if x, ok := m.(*wire.Placed); ok && to == "a1" && x.Seq == 77 {
			got++
		}
		if d, ok := m.(*wire.Datagram); ok && to == "a1" && d.Src == w.peers["b0"].ID {
			got++
		}
		return false
	}
	w.run(3 * time.Minute)
	if got == 0 {
		t.Error("nothing reaches a pilot over its second hub")
	}
}

// When the hub of a site is gone and pilots have no other, one that has a way
// out, or is asked, relays for them.
func TestSubstitute(t *testing.T) {
	t.Parallel()
	w := clusters(t, 4, map[string]string{"a": "L", "b": "L"})
	w.direct = func(a, b string) (time.Duration, bool) {
		inside := a[0] == 'a' && b[0] == 'a'
		out := pair(a, b) == pair("a2", "hub-b") // one can reach the other site
		return time.Millisecond, inside || out
	}
	w.run(time.Minute)
	if _, ok := w.delays[pair("a2", "hub-b")]; !ok {
		t.Fatal("the pilot that can has not made itself a second hub")
	}
	w.kill("hub-a")
	w.run(30 * time.Second)
	relays := 0
	for _, name := range []string{"a0", "a1", "a2", "a3"} {
		if w.node(name) == nil {
			t.Fatalf("%s is gone", name)
		}
		if w.node(name).Stats(w.now).Relays {
			relays++
		}
	}
	if !w.node("a2").Stats(w.now).Relays || relays != 1 {
		t.Errorf("%d relay, a2 does: %v", relays, w.node("a2").Stats(w.now).Relays)
	}
	for _, name := range []string{"a0", "a1", "a3"} {
		if _, ok := w.path(name, "L"); !ok {
			t.Errorf("%s cannot reach the launcher", name)
		}
	}
	got := 0
	w.lose = func(_, to string, m wire.Message) bool {
		if d, ok := m.(*wire.Datagram); ok && to[0] == 'b' && d.Src == w.peers["a0"].ID {
			got++
		}
		return false
	}
	w.run(2 * time.Minute)
	if got == 0 {
		t.Error("nothing of a pilot without hub reaches the other site")
	}
	for name := range w.peers {
		if n := w.blamed(name); n != 0 {
			t.Errorf("%s blames others %d times", name, n)
		}
	}
	// The hub's successor takes over.
	w.add("hub-a2", wire.RoleHub, "a", nil)
	w.link("hub-a2", "L", 10*time.Millisecond)
	for i := range 4 {
		w.link(fmt.Sprintf("a%d", i), "hub-a2", 200*time.Microsecond)
	}
	w.run(time.Minute)
	if w.node("a2").Stats(w.now).Relays {
		t.Error("it still relays, with a hub there")
	}
}

// A hub that was cut off for so long that it was declared dead, and comes back
// over the connections it had, is one of the session again.
func TestHubComesBack(t *testing.T) {
	t.Parallel()
	w := clusters(t, 2, map[string]string{"a": "L", "b": "L", "c": "L", "d": "L"})
	w.direct = func(a, b string) (time.Duration, bool) {
		return 8 * time.Millisecond, strings.HasPrefix(a, "hub") && strings.HasPrefix(b, "hub")
	}
	w.run(time.Minute)
	hub, dead := w.peers["hub-a"].ID, false
	w.lose = func(from, to string, m wire.Message) bool {
		if m, ok := m.(*wire.Notices); ok {
			dead = dead || slices.ContainsFunc(m.List, func(n *wire.Notice) bool { return slices.Contains(n.Dead, hub) })
		}
		return from == "hub-a" || to == "hub-a"
	}
	w.run(13 * time.Second)
	if !dead {
		t.Fatal("a hub that is cut off is not declared dead")
	}
	w.lose = nil
	w.run(core.DefaultLease + time.Minute)
	for _, name := range []string{"L", "hub-b", "hub-c"} {
		if !slices.ContainsFunc(w.node(name).Peers(), func(p wire.Peer) bool { return p.ID == hub }) {
			t.Errorf("%s has forgotten the hub", name)
		}
	}
}

// What a hub remembers of a pilot that another one serves counts for nothing:
// it may have been cut off. The word of the one that serves it does.
func TestRemembersTheLiving(t *testing.T) {
	t.Parallel()
	w := clusters(t, 1, map[string]string{"a": "L", "b": "L"})
	w.run(time.Minute)
	a0 := w.peers["a0"].ID
	gone := func() (n int) {
		for _, e := range w.events["L"] {
			if d, ok := e.(core.PeersDown); ok && slices.ContainsFunc(d.Peers, func(p wire.Peer) bool { return p.ID == a0 }) {
				n++
			}
		}
		return n
	}
	for i, hub := range []string{"hub-b", "hub-a"} {
		w.do("L", func(n *core.Node) { n.Receive(w.now, w.peers[hub].ID, &wire.Welcome{Down: []wire.NodeID{a0}}) })
		if got := gone(); got != i {
			t.Errorf("after the word of %s the launcher has taken the pilot for dead %d times, want %d", hub, got, i)
		}
	}
}
