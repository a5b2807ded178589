package gossipsim

import "fmt"

// Plan is a whole simulation: a world that runs for some rounds, of which a share
// dies halfway.
type Plan struct {
	Config
	Rounds int     // from 1 to 100,000
	Kill   float64 // share of the nodes that die at once after half of the rounds
}

// Result is how a simulation ended.
type Result struct {
	Seed  uint64 `json:"seed"`
	Nodes int    `json:"nodes"` // alive at the end
	Degrees
	Components    int    `json:"components"`      // parts of the graph of views; an entry joins both ways
	Strong        int    `json:"strong"`          // nodes that can find each other along entries
	DeadEntries   int    `json:"dead_entries"`    // at the end
	RoundsToClean int    `json:"rounds_to_clean"` // from the deaths until no view had a dead entry; 0 without deaths, -1 if that did not happen
	Messages      uint64 `json:"messages"`
	Bytes         uint64 `json:"bytes"` // of the messages on the wire
	Digest        string `json:"digest"`
}

// Run runs a plan.
func Run(p Plan) (Result, error) {
	if p.Rounds < 1 || p.Rounds > 100_000 {
		return Result{}, fmt.Errorf("%d rounds: want 1 to 100000", p.Rounds)
	}
	if !(p.Kill >= 0 && p.Kill <= 1) {
		return Result{}, fmt.Errorf("kill of %v: want 0 to 1", p.Kill)
	}
	w, err := New(p.Config)
	if err != nil {
		return Result{}, err
	}
	clean := 0
	if p.Kill > 0 {
		w.Run(p.Rounds / 2)
		w.Kill(p.Kill)
		clean = w.Clean(p.Rounds - p.Rounds/2)
	} else {
		w.Run(p.Rounds)
	}
	r := Result{Seed: p.Seed, Nodes: w.Alive(), Degrees: w.Degrees(), DeadEntries: w.Dead(), RoundsToClean: clean,
		Digest: fmt.Sprintf("%016x", w.Digest())}
	r.Components, r.Strong = w.Components()
	r.Messages, r.Bytes = w.Messages()
	return r, nil
}

// Clean runs some rounds and returns after how many there was no dead entry
// in any view, or -1.
func (w *World) Clean(rounds int) int {
	clean := -1
	for i := range rounds {
		w.Run(1)
		if clean < 0 && w.Dead() == 0 {
			clean = i + 1
		}
	}
	return clean
}

// Alive returns how many nodes are alive.
func (w *World) Alive() (count int) {
	for _, n := range w.nodes {
		if n.alive {
			count++
		}
	}
	return count
}
