package transport

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

type Authority struct{}

// NewAuthority makes the CA of a session; validity bounds everything it signs (0: 30 days).
func NewAuthority(session wire.SessionID, validity time.Duration) (*Authority, error) { panic("soon") }
func ParseAuthority(pem []byte) (*Authority, error)                                   { panic("soon") }
func (a *Authority) MarshalPEM() ([]byte, error)                                      { panic("soon") }
func (a *Authority) Pin() Pin                                                         { panic("soon") }
func (a *Authority) Session() wire.SessionID                                          { panic("soon") }

// Identity makes a key and certifies it; for the launcher itself.
func (a *Authority) Identity(role wire.Role, site string) (*Identity, error) { panic("soon") }

// Signer returns the signer that serves joins with the CA's own key, as the node id.
func (a *Authority) Signer(id *Identity, log *slog.Logger) *Signer { panic("soon") }

// Token admits nodes.
type Token struct {
	Name    string
	Secret  []byte // 16 to 64 bytes
	Role    wire.Role
	Site    string
	Joins   int       // how many nodes it admits
	Expires time.Time // zero: with the signer
}

type Signer struct{}

func (s *Signer) AddToken(t Token) error                                       { panic("soon") }
func (s *Signer) Revoke(name string)                                           { panic("soon") }
func (s *Signer) ServeJoin(ctx context.Context, conn io.ReadWriteCloser) error { panic("soon") }

// JoinRequest is what a process knows before it is admitted: its boot file.
type JoinRequest struct {
	Pin        Pin
	Token      string
	Secret     []byte
	WantSigner bool
}

// Join gets an identity over a fresh connection to a hub or launcher, which is used up and closed.
func Join(ctx context.Context, conn io.ReadWriteCloser, kind CarrierKind, req JoinRequest) (*Identity, *Signer, error) {
	panic("soon")
}

type CarrierKind uint8

const (
	TCP   CarrierKind = 1
	Local CarrierKind = 2
)

type Config struct {
	Identity *Identity    // nil: waits to be admitted
	Signer   *Signer      // serves joins; nil: passes them on towards the launcher
	Join     *JoinRequest // with no Identity: what to ask of the signer that comes (hub)
	// Handlers serve incoming streams by kind, each in a goroutine of its own; the stream is closed
	// when the handler returns. Kinds without one are refused. Check s.Peer().Role yourself.
	Handlers   map[wire.StreamKind]func(ctx context.Context, s *Stream)
	Logger     *slog.Logger
	Keepalive  time.Duration // 5 s
	DeadAfter  time.Duration // 20 s
	MaxStreams int           // 1024
}
type Endpoint struct{}

func New(c Config) (*Endpoint, error) { panic("soon") }

// Admit gives a node made without identity one (it joined by Join).
func (e *Endpoint) Admit(id *Identity, s *Signer) error { panic("soon") }
func (e *Endpoint) ID() wire.NodeID                     { panic("soon") } // zero before admission
func (e *Endpoint) Serve(ctx context.Context, l net.Listener, kind CarrierKind) error {
	panic("soon")
}

// Options of one Connect.
type Options struct {
	Bulk    bool        // a further carrier to a peer, for bulk streams; no link is made over it
	Admit   bool        // offer admission first, with Config.Signer, to a hub that has no identity
	OnClose func(error) // called once, when the carrier ends after a successful Connect
}

// Connect makes a carrier of conn (as dialer), and the link to whoever is at the other end.
func (e *Endpoint) Connect(ctx context.Context, conn io.ReadWriteCloser, kind CarrierKind, o Options) (Peer, error) {
	panic("soon")
}
func (e *Endpoint) Link(ctx context.Context, dst wire.NodeID) error { panic("soon") }
func (e *Endpoint) Send(dst wire.NodeID, m wire.Message) error      { panic("soon") }
func (e *Endpoint) OpenStream(ctx context.Context, dst wire.NodeID, kind wire.StreamKind) (*Stream, error) {
	panic("soon")
}
func (e *Endpoint) SetRoute(dst, via wire.NodeID)   { panic("soon") }
func (e *Endpoint) DropRoute(dst wire.NodeID)       { panic("soon") }
func (e *Endpoint) SetDefaultRoute(via wire.NodeID) { panic("soon") } // zero: none
func (e *Endpoint) Peers() []Peer                   { panic("soon") } // linked
func (e *Endpoint) Events() <-chan Event            { panic("soon") } // closed by Close
func (e *Endpoint) Close() error                    { panic("soon") }

// Stream implements net.Conn.
type Stream struct{ net.Conn }

func (s *Stream) CloseWrite() error     { panic("soon") } // the other end reads io.EOF
func (s *Stream) Reset()                { panic("soon") } // the other end gets ErrReset
func (s *Stream) Peer() Peer            { panic("soon") }
func (s *Stream) Kind() wire.StreamKind { panic("soon") }
