package detect

import (
	"slices"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// links are the nodes to which there are links, by identity. Most nodes have a
// few.
type links []linked

type linked struct {
	id   wire.NodeID
	role wire.Role
}

func (l links) find(id wire.NodeID) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(x linked, id wire.NodeID) int { return x.id.Compare(id) })
}

// role returns the role of the node at the other end; 0 when there is no link.
func (l links) role(id wire.NodeID) wire.Role {
	if i, found := l.find(id); found {
		return l[i].role
	}
	return 0
}

func (l *links) add(id wire.NodeID, role wire.Role) {
	i, found := l.find(id)
	if !found {
		*l = slices.Insert(*l, i, linked{})
	}
	(*l)[i] = linked{id, role}
}

func (l *links) remove(id wire.NodeID) {
	if i, found := l.find(id); found {
		*l = slices.Delete(*l, i, i+1)
	}
}
