package transport

import (
	"errors"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Errors that callers branch on.
var (
	// ErrNoRoute means that no carrier and no route leads to a node.
	ErrNoRoute = errors.New("no route")
	// ErrOverflow means that a link's queue was full. The link is closed.
	ErrOverflow = errors.New("link queue full")
	// ErrRefused matches refusals by the other end or by a hub on the way; the
	// text says why.
	ErrRefused = errors.New("refused")
	// ErrReset means that the other end, or the path to it, broke a stream off.
	ErrReset = errors.New("stream reset")
	// ErrClosed means that the endpoint or the stream is closed on this side.
	ErrClosed = errors.New("closed")
	// ErrSilent means that nothing at all came over a carrier for too long.
	ErrSilent = errors.New("carrier is silent")
	// ErrNotAdmitted means that this node has no identity yet.
	ErrNotAdmitted = errors.New("not admitted yet")
	// ErrUntrusted matches certificates that are not good in this session.
	ErrUntrusted = errors.New("untrusted certificate")
)

// Peer is a node at the other end of a link or stream, as its certificate
// names it.
type Peer struct {
	ID     wire.NodeID
	Role   wire.Role
	Site   string
	Direct bool      // over a carrier to it, not through a hub
	Path   wire.Path // how that carrier was made
}

// Event is what an endpoint reports: [LinkUp], [LinkDown], [Received] or
// [Joined]. Events of one peer come in order: LinkUp, any Received, LinkDown.
type Event interface{ event() }

// LinkUp says that a link to a peer is in use. A later change of the path,
// from a hub to a direct carrier or back, is not reported; Peers tells.
type LinkUp struct{ Peer Peer }

// LinkDown says that there is no link to a peer any more, or, without a LinkUp
// before, that the link which a Send wanted could not be made. Messages that
// were queued or on their way are lost. The next Send tries again.
type LinkDown struct {
	ID  wire.NodeID
	Err error // why; nil when the other end said good-bye
}

// Received is a message from a peer.
type Received struct {
	From    wire.NodeID
	Message wire.Message
}

// Joined says that a node that waited to be admitted now has an identity.
type Joined struct {
	Identity *Identity
	Signer   *Signer // nil unless it asked to become a signer
}

func (LinkUp) event()   {}
func (LinkDown) event() {}
func (Received) event() {}
func (Joined) event()   {}
