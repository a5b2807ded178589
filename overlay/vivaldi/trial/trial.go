// Package trial tries network coordinates on a matrix of round-trip times: as
// many [vivaldi.Node] as the matrix has rows probe each other in rounds, and
// are judged by the matrix.
//
// The one rule to know: a round is one probe of each node, whatever it is for.
// All else that travels is words: the hints in a probe's messages, and the
// coordinates told to those that remember another. Scores count both.
//
// It is pure, and a trial is repeatable from its seed. It models neither time
// within a round nor loss, and is no part of a pilot.
package trial

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// MaxTold is how many peers a node tells its new coordinate in a round.
const MaxTold = 16

// Options of a trial. The zero value is a trial of all nodes of the matrix,
// honest and without sites.
type Options struct {
	Seed uint64
	// Sites are the site labels of the nodes, or nil.
	Sites []string
	// Absent nodes are not there until [Trial.Join].
	Absent []int
	// Lie returns the coordinate that a node claims in place of its own, and
	// tells about others. Such nodes are left out of the scores. Nil is honest.
	Lie func(node int, about vivaldi.Peer) (claimed wire.Coordinate, liar bool)
	// AskerOnly makes only the asker learn from a probe, as if the asked node
	// did not time the way from its answer to the acknowledgement.
	AskerOnly bool
}

// Score judges the nodes after a round.
type Score struct {
	Round  int     `json:"round"`
	Median float64 `json:"median_relative_error"` // of the distance by coordinates, over all pairs
	P90    float64 `json:"p90_relative_error"`
	Near   float64 `json:"near_fraction"` // nodes whose best measured neighbour is within 2 x + 1 ms of the nearest
	Probes float64 `json:"probes"`        // of a node and round, so far
	Told   float64 `json:"told"`          // coordinates told beside probes, of a node and round, so far
}

// Trial is a set of nodes and the matrix they measure.
type Trial struct {
	opt    Options
	matrix Matrix
	rand   *rand.Rand
	now    time.Time
	nodes  []*vivaldi.Node // nil is absent
	ids    []wire.NodeID
	index  map[wire.NodeID]int
	view   []wire.NodeID // of all present
	round  int
	probes int
	told   int
}

// New starts a trial.
func New(m Matrix, o Options) *Trial {
	t := &Trial{opt: o, matrix: m, rand: rand.New(rand.NewPCG(o.Seed, 0x747269616c)), now: time.Unix(0, 0),
		nodes: make([]*vivaldi.Node, len(m)), ids: make([]wire.NodeID, len(m)), index: make(map[wire.NodeID]int)}
	for i := range m {
		for k := range t.ids[i] {
			t.ids[i][k] = byte(t.rand.Uint32())
		}
		t.index[t.ids[i]] = i
	}
	for i := range m {
		if !slices.Contains(o.Absent, i) {
			t.Join(i, wire.Coordinate{})
		}
	}
	return t
}

// Join adds a node that was absent, with the coordinate it starts from.
func (t *Trial) Join(i int, start wire.Coordinate) {
	o := vivaldi.Options{ID: t.ids[i], Start: start, Rand: rand.New(rand.NewPCG(t.opt.Seed, uint64(i)))}
	if t.opt.Sites != nil {
		o.Site = t.opt.Sites[i]
	}
	n, err := vivaldi.New(o)
	if err != nil {
		panic(err) // a start that no node has given
	}
	t.nodes[i] = n
	t.view = append(t.view, t.ids[i])
}

// Change makes the nodes measure another matrix of the same size from now on.
func (t *Trial) Change(m Matrix) { t.matrix = m }

// Node returns a node, nil while it is absent.
func (t *Trial) Node(i int) *vivaldi.Node { return t.nodes[i] }

// Peer returns a node as it speaks of itself.
func (t *Trial) Peer(i int) vivaldi.Peer {
	p := vivaldi.Peer{ID: t.ids[i], Coordinate: t.nodes[i].Coordinate()}
	if t.opt.Sites != nil {
		p.Site = t.opt.Sites[i]
	}
	p.Coordinate = t.claim(i, p)
	return p
}

// claim is what a node says about a peer, itself included.
func (t *Trial) claim(i int, about vivaldi.Peer) wire.Coordinate {
	if t.opt.Lie != nil {
		if c, liar := t.opt.Lie(i, about); liar {
			return c
		}
	}
	return about.Coordinate
}

func (t *Trial) hints(i int, to vivaldi.Peer) []vivaldi.Hint {
	hints := t.nodes[i].Hints(t.now, to)
	for k := range hints {
		hints[k].Peer.Coordinate = t.claim(i, hints[k].Peer)
	}
	return hints
}

// Round lets every node probe once.
func (t *Trial) Round() {
	t.round++
	t.now = t.now.Add(vivaldi.Every)
	for _, i := range t.rand.Perm(len(t.nodes)) {
		if t.nodes[i] == nil {
			continue
		}
		if id, ok := t.nodes[i].Next(t.now, t.view); ok {
			t.probes++
			t.probe(i, t.index[id])
		}
	}
	for i, n := range t.nodes {
		if n == nil {
			continue
		}
		for _, id := range n.Tell(MaxTold) {
			t.told++
			t.nodes[t.index[id]].Hear(t.now, t.ids[i], []vivaldi.Hint{{Peer: t.Peer(i)}})
		}
	}
}

// probe is the exchange of ping, pong and acknowledgement.
func (t *Trial) probe(i, j int) {
	asker, asked := t.nodes[i], t.nodes[j]
	rtt := t.matrix[i][j]
	if rtt == 0 {
		asker.Failed(t.ids[j])
		return
	}
	a, b := t.Peer(i), t.Peer(j)
	toAsked, toAsker := t.hints(i, b), t.hints(j, a)
	// What is refused is refused; the trial's business is what comes of it.
	_ = asker.Observe(t.now, b, rtt)
	if !t.opt.AskerOnly {
		_ = asked.Observe(t.now, a, rtt)
	}
	asked.Hear(t.now, a.ID, toAsked)
	asker.Hear(t.now, b.ID, toAsker)
}

// Score judges the nodes that are present and honest.
func (t *Trial) Score() Score {
	s := Score{Round: t.round}
	var errs []float64
	near, judged := 0, 0
	for i := range t.nodes {
		if !t.judged(i) {
			continue
		}
		me := t.nodes[i].Coordinate()
		var nearest time.Duration
		for j, rtt := range t.matrix[i] {
			if rtt == 0 || !t.judged(j) {
				continue
			}
			errs = append(errs, math.Abs(float64(vivaldi.Distance(me, t.nodes[j].Coordinate())-rtt))/float64(rtt))
			if nearest == 0 || rtt < nearest {
				nearest = rtt
			}
		}
		if nearest == 0 {
			continue
		}
		judged++
		// The measured peers may include liars, whom the scores do not know.
		for _, b := range t.nodes[i].Best(vivaldi.Remembered) {
			if j := t.index[b.ID]; t.judged(j) {
				if t.matrix[i][j] <= 2*nearest+time.Millisecond {
					near++
				}
				break
			}
		}
	}
	if len(errs) > 0 {
		slices.Sort(errs)
		s.Median, s.P90 = errs[len(errs)/2], errs[len(errs)*9/10]
	}
	if judged > 0 {
		s.Near = float64(near) / float64(judged)
	}
	if t.round > 0 {
		s.Probes = float64(t.probes) / float64(t.round*len(t.nodes))
		s.Told = float64(t.told) / float64(t.round*len(t.nodes))
	}
	return s
}

func (t *Trial) judged(i int) bool {
	if t.nodes[i] == nil {
		return false
	}
	if t.opt.Lie != nil {
		_, liar := t.opt.Lie(i, vivaldi.Peer{ID: t.ids[i], Coordinate: t.nodes[i].Coordinate()})
		return !liar
	}
	return true
}
