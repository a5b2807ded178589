package launcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Overlay is the network of a running session, as its launcher knows it.
type Overlay struct {
	Nodes []OverlayNode `json:"nodes"`
	Links []OverlayLink `json:"links"`
}

// OverlayNode is a member of the session. An unknown place has no coordinate.
type OverlayNode struct {
	ID         string             `json:"id"`
	Role       string             `json:"role"`
	Site       string             `json:"site"`
	Host       string             `json:"host,omitempty"`
	Slots      int                `json:"slots,omitempty"`
	Hubs       []string           `json:"hubs,omitempty"` // nodes that relay to it, best first
	Coordinate *OverlayCoordinate `json:"coordinate,omitempty"`
	Lost       bool               `json:"lost,omitempty"` // it cannot be reached at present
}

// OverlayCoordinate is a place in the space of round-trip times.
type OverlayCoordinate struct {
	PositionMS []float64 `json:"position_ms"`
	HeightMS   float64   `json:"height_ms"`
	Error      float64   `json:"error"` // the node's own guess, relative
}

// OverlayLink is a link between two nodes: of the launcher, between hubs, and
// of each other node to those that relay to it.
type OverlayLink struct {
	A     string  `json:"a"`
	B     string  `json:"b"`
	Path  string  `json:"path"`             // local, direct, reverse, simultaneous, ssh, routed or unknown
	RTTMS float64 `json:"rtt_ms,omitempty"` // 0 is unknown
}

// overlay asks the node of this launcher.
func (s *session) overlay(ctx context.Context) (Overlay, error) {
	var o core.Overview
	if s.agent == nil {
		return Overlay{}, errors.New("the session has no network yet")
	}
	if err := s.agent.Call(ctx, func(_ time.Duration, n *core.Node) { o = n.Overview() }); err != nil {
		return Overlay{}, err
	}
	return OverlayOf(o), nil
}

// OverlayOf writes down what a node knows of its overlay.
func OverlayOf(o core.Overview) Overlay {
	out := Overlay{Nodes: []OverlayNode{}, Links: []OverlayLink{}}
	for _, n := range o.Nodes {
		node := OverlayNode{ID: n.ID.String(), Role: n.Role.String(), Site: n.Site, Host: n.Name, Slots: int(n.Offer.Slots), Lost: n.Lost}
		for _, h := range n.Hubs {
			node.Hubs = append(node.Hubs, h.String())
		}
		if c := n.Place; c != nil {
			node.Coordinate = &OverlayCoordinate{HeightMS: rounded(c.Height), Error: rounded(c.Error)}
			for _, x := range c.Position {
				node.Coordinate.PositionMS = append(node.Coordinate.PositionMS, rounded(x))
			}
		}
		out.Nodes = append(out.Nodes, node)
	}
	for _, l := range o.Links {
		out.Links = append(out.Links, OverlayLink{A: l.A.String(), B: l.B.String(), Path: l.Path.String(), RTTMS: float64(l.RTT.Microseconds()) / 1000})
	}
	return out
}

// rounded keeps the microseconds of a number of milliseconds.
func rounded(x float32) float64 { return float64(int64(float64(x)*1000)) / 1000 }

// overlayPart is how much of an overlay goes into one line of an answer.
const overlayPart = 256

// parts cuts an overlay into such pieces; there is at least one.
func (o Overlay) parts() []Overlay {
	var list []Overlay
	for first := true; first || len(o.Nodes)+len(o.Links) > 0; first = false {
		n, l := min(len(o.Nodes), overlayPart), min(len(o.Links), overlayPart)
		list = append(list, Overlay{Nodes: o.Nodes[:n], Links: o.Links[:l]})
		o.Nodes, o.Links = o.Nodes[n:], o.Links[l:]
	}
	return list
}

// Overlay asks for the network of the run's session. See [Control.Status] for
// its errors.
func (c *Control) Overlay(ctx context.Context) (Overlay, error) {
	var o Overlay
	got := false
	err := c.talk(ctx, controlRequest{Do: "overlay"}, func(r controlReply, _ func(controlRequest) error) error {
		if r.Overlay != nil {
			got = true
			o.Nodes = append(o.Nodes, r.Overlay.Nodes...)
			o.Links = append(o.Links, r.Overlay.Links...)
		}
		return nil
	}, nil)
	if err == nil && !got {
		err = fmt.Errorf("run %s: no overlay in the answer", c.name)
	}
	return o, err
}

// tellOverlay answers on the control socket.
func (s *ControlServer) tellOverlay(c *conversation) error {
	ctx, cancel := context.WithTimeout(s.ctx, controlPatience)
	defer cancel()
	if s.controls.Overlay == nil {
		return errors.New("this run has no overlay")
	}
	o, err := s.controls.Overlay(ctx)
	if err != nil {
		return err
	}
	for _, part := range o.parts() {
		if err := c.send(controlReply{Type: "overlay", Overlay: &part}); err != nil {
			return err
		}
	}
	return nil
}
