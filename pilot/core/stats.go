package core

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Stats says what a node is busy with.
type Stats struct {
	Free, Offered, Held, Committed, Withheld int // slots

	Overdue time.Duration // of the claim that should have ended the longest ago
	Stray   int           // claims for jobs that are known to have ended
	Workers int           // of jobs of others here, ended ones included
	Jobs    int           // known to be open
	Leads   int           // of which this node is the primary
	Links   int
	Peers   int
	View    int    // peers that gossip knows of
	Lost    uint64 // datagrams that went no further
	Relays  bool   // for others
	Leaving bool
}

// Stats returns what the node is busy with.
func (n *Node) Stats(now time.Duration) Stats {
	s := Stats{Jobs: n.board.Len(), Leads: len(n.primaries), Links: len(n.order), Peers: len(n.peers), Lost: n.lost, Relays: n.relaying(), Leaving: n.exit.reason != ""}
	if n.sampler != nil {
		s.View = n.sampler.Len()
	}
	if n.slots != nil {
		s.Free, s.Offered = n.slots.Count(flood.Free), n.slots.Count(flood.Offered)
		s.Held, s.Committed, s.Withheld = n.slots.Count(flood.Held), n.slots.Count(flood.Committed), n.slots.Count(flood.Withheld)
		for _, c := range n.slots.Claims() {
			s.Overdue = max(s.Overdue, now-c.Expires)
			if n.board.Closed(c.Job) {
				s.Stray++
			}
		}
	}
	for _, c := range n.crews {
		s.Workers += c.Len()
	}
	return s
}

// View returns what gossip knows of other nodes.
func (n *Node) View(now time.Duration) []wire.Entry {
	if n.sampler == nil {
		return nil
	}
	return n.sampler.Peers(now)
}
