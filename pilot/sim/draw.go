package sim

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Dot returns the overlay in the language of Graphviz, for neato: nodes have
// their places.
func (o *Overlay) Dot() string {
	var b strings.Builder
	at, _, _ := o.arrange()
	b.WriteString("graph overlay {\n  node [style=filled fontsize=8 fontname=sans label=\"\" width=0.12 fixedsize=true];\n")
	for i, n := range o.Nodes {
		look := "shape=circle"
		switch n.Role {
		case wire.RoleHub:
			look = fmt.Sprintf("shape=square width=0.2 xlabel=%q", n.Name)
		case wire.RoleLauncher:
			look = fmt.Sprintf("shape=diamond width=0.3 xlabel=%q", n.Name)
		}
		fmt.Fprintf(&b, "  n%d [%s tooltip=%q fillcolor=%q pos=\"%.1f,%.1f!\"];\n", i, look, n.Name, colour(n.Site), at[i][0], -at[i][1])
	}
	for _, l := range o.Links {
		look := "color=grey"
		switch {
		case l.Routed:
			look = "style=dotted color=lightgrey"
		case o.backbone(l):
			look = fmt.Sprintf("penwidth=2 fontsize=8 label=%q", milliseconds(l.RTT))
		}
		fmt.Fprintf(&b, "  n%d -- n%d [%s];\n", l.A, l.B, look)
	}
	b.WriteString("}\n")
	return b.String()
}

// SVG returns the overlay as a picture: sites lie where their hubs take
// themselves to be, moved apart as far as they would cover each other, with
// their pilots around them.
func (o *Overlay) SVG() string {
	var b strings.Builder
	at, lo, hi := o.arrange()
	const margin, legend = 60, 30
	width, height := hi[0]-lo[0]+2*margin, hi[1]-lo[1]+2*margin+legend
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="%.0f %.0f %.0f %.0f" font-family="sans-serif" font-size="11">`+"\n",
		lo[0]-margin, lo[1]-margin, width, height)
	fmt.Fprintf(&b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="white"/>`+"\n", lo[0]-margin, lo[1]-margin, width, height)
	for layer := range 3 { // routed below, the links of hubs on top
		for _, l := range o.Links {
			look, is := `stroke="#999" stroke-width="0.6"`, 1
			switch {
			case l.Routed:
				look, is = `stroke="#bbb" stroke-width="0.4" stroke-dasharray="2 3"`, 0
			case o.backbone(l):
				look, is = `stroke="#333" stroke-width="1.6"`, 2
			}
			if is != layer {
				continue
			}
			p, q := at[l.A], at[l.B]
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s><title>%s - %s, %s</title></line>`+"\n",
				p[0], p[1], q[0], q[1], look, text(o.Nodes[l.A].Name), text(o.Nodes[l.B].Name), milliseconds(l.RTT))
			if is == 2 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#333" stroke="white" stroke-width="3" paint-order="stroke">%s</text>`+"\n",
					(p[0]+q[0])/2, (p[1]+q[1])/2, milliseconds(l.RTT))
			}
		}
	}
	for i, n := range o.Nodes {
		p := at[i]
		title := fmt.Sprintf(`<title>%s, %.1f %.1f ms</title>`, text(n.Name), n.X, n.Y)
		switch n.Role {
		case wire.RolePilot:
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s" stroke="white" stroke-width="0.5">%s</circle>`+"\n", p[0], p[1], colour(n.Site), title)
			continue
		case wire.RoleHub:
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s" stroke="black">%s</rect>`+"\n", p[0]-6, p[1]-6, colour(n.Site), title)
		default:
			fmt.Fprintf(&b, `<path d="M%.1f %.1fl9 9 -9 9 -9 -9z" fill="%s" stroke="black">%s</path>`+"\n", p[0], p[1]-9, colour(n.Site), title)
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" stroke="white" stroke-width="3" paint-order="stroke">%s</text>`+"\n", p[0], p[1]-11, text(n.Name))
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" fill="#333">%d nodes, %d links. Diamond: launcher; square: hub; dot: pilot. Lines: connections, with the round trip between hubs; dotted: links through hubs.</text>`+"\n",
		lo[0]-margin+10, hi[1]+margin+legend-12, len(o.Nodes), len(o.Links))
	b.WriteString("</svg>\n")
	return b.String()
}

// backbone reports whether a link is between hubs, or the launcher's.
func (o *Overlay) backbone(l OverlayLink) bool {
	return !l.Routed && o.Nodes[l.A].Role != wire.RolePilot && o.Nodes[l.B].Role != wire.RolePilot
}

// arrange places the nodes on paper: each site around the mean of its hubs,
// its pilots in a spiral, and the sites so far apart that none covers another.
func (o *Overlay) arrange() (at [][2]float64, lo, hi [2]float64) {
	const dot, room, paper = 8.0, 34.0, 900.0
	type cluster struct {
		x, y, r float64
		anchors int // nodes that say where it is
		pilots  int
		placed  int
		hubs    int
	}
	sites := make(map[int]*cluster)
	var order []*cluster
	for _, n := range o.Nodes {
		c := sites[n.Site]
		if c == nil {
			c = new(cluster)
			sites[n.Site] = c
			order = append(order, c)
		}
		if n.Role == wire.RolePilot {
			c.pilots++
			continue
		}
		c.x, c.y, c.anchors = c.x+n.X, c.y+n.Y, c.anchors+1
	}
	widest := 1.0
	for _, c := range order {
		c.x, c.y = c.x/float64(max(c.anchors, 1)), c.y/float64(max(c.anchors, 1))
		c.r = room + dot*math.Sqrt(float64(c.pilots))
		widest = max(widest, math.Abs(c.x), math.Abs(c.y))
	}
	for i, c := range order { // a little off, so that none lie on one point
		c.x = c.x/widest*paper/2 + math.Cos(float64(i)*2.4)
		c.y = c.y/widest*paper/2 + math.Sin(float64(i)*2.4)
	}
	for range 300 {
		moved := false
		for i, a := range order {
			for _, c := range order[:i] {
				dx, dy := a.x-c.x, a.y-c.y
				d := math.Hypot(dx, dy)
				if over := a.r + c.r - d; over > 0.5 {
					f := over / 2 / max(d, 1e-6)
					a.x, a.y, c.x, c.y = a.x+dx*f, a.y+dy*f, c.x-dx*f, c.y-dy*f
					moved = true
				}
			}
		}
		if !moved {
			break
		}
	}
	at = make([][2]float64, len(o.Nodes))
	lo, hi = [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for i, n := range o.Nodes {
		c := sites[n.Site]
		x, y := c.x, c.y
		if n.Role == wire.RolePilot {
			c.placed++
			r := 16 + dot*math.Sqrt(float64(c.placed))
			turn := float64(c.placed) * 2.399963 // the golden angle
			x, y = x+r*math.Cos(turn), y+r*math.Sin(turn)
		} else {
			x += float64(c.hubs) * 15
			c.hubs++
		}
		at[i] = [2]float64{x, y}
		for d := range 2 {
			lo[d], hi[d] = min(lo[d], at[i][d]), max(hi[d], at[i][d])
		}
	}
	if len(at) == 0 {
		lo, hi = [2]float64{}, [2]float64{}
	}
	return at, lo, hi
}

// colour gives sites colours that differ: hues a golden angle apart.
func colour(site int) string {
	h := math.Mod(float64(site)*137.508, 360) / 60
	s, v := 0.55, 0.85
	part := func(n float64) int {
		k := math.Mod(n+h, 6)
		return int(255 * (v - v*s*max(0, min(k, 4-k, 1))))
	}
	return fmt.Sprintf("#%02x%02x%02x", part(5), part(3), part(1))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3g ms", d.Seconds()*1000)
}

// text escapes what XML would take for its own.
func text(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
