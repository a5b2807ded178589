package launcher

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestPilotComes has others look at what a site gives in the very moment in which its
// last pilot comes up: at no time there is neither a pilot nor one to come.
func TestPilotComes(t *testing.T) {
	t.Parallel()
	s := newSession(Job{Workers: 1, Min: 1}, Options{})
	journal, err := OpenJournal(filepath.Join(t.TempDir(), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	s.events = newEmitter("run", journal, nil)
	defer s.events.close()
	s.supply = newSupply(s)
	r := &siteRun{s: s, site: &Site{Name: "here"}, status: SiteChanged{Submitted: 1}}
	s.supply.add(r)
	s.supply.open()

	r.mu.Lock() // the pilot is about to be counted
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		s.supply.peerUp(wire.Peer{ID: wire.NodeID{1}, Role: wire.RolePilot, Site: "here", Offer: wire.Offer{Slots: 1, Cores: 1}})
	}()
	room := func() int {
		s.supply.mu.Lock()
		defer s.supply.mu.Unlock()
		return s.supply.room()
	}
	for late := time.Now().Add(10 * time.Second); room() == 0; <-time.After(time.Millisecond) {
		if time.Now().After(late) {
			t.Error("a pilot that is about to be counted as up gives no room")
			break
		}
	}
	r.mu.Unlock()
	<-counted
	if s.supply.gaveUp() || r.mayGrow() {
		t.Errorf("given up %v, another may come %v; want neither", s.supply.gaveUp(), r.mayGrow())
	}
}
