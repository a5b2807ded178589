package sim

// Overlay is the overlay of a simulation at one time, to be drawn.
type Overlay struct {
	Nodes []OverlayNode
	Links []OverlayLink
}

// OverlayNode is a node of an [Overlay].
type OverlayNode struct {
	Name string
	Role string
	Site int     // 0 for home, others by number
	X, Y float64 // where it takes itself to be, in milliseconds
}

// OverlayLink is a link of an [Overlay].
type OverlayLink struct {
	From, To int     // index of nodes
	RTT      float64 // milliseconds
	Routed   bool    // over the connections of others
}

func (w *world) picture() *Overlay {
	return nil
}
