// Package transport is the shell of the peer-to-peer network: sockets, TLS,
// multiplexing, admission and relaying. It moves the messages of package wire
// between nodes and knows nothing about what they mean.
//
// Three words matter. A carrier is one byte pipe between two processes (a TCP
// connection, a unix socket, an SSH channel behind a bridge) with many streams
// on it. A link is the authenticated control conversation of two nodes; at most
// one is in use between any two. A stream is a byte stream between two nodes,
// over as many hubs as it takes.
//
// The one rule: whoever is named by [Stream.Peer] or [Event] has proven it with
// a key certified by the session's CA. Everything that is not a direct TCP
// neighbour proves it inside the stream, end to end, so a hub passes on bytes
// that it can neither read nor alter.
//
//	launcher --- SSH stdio --- hub --- TCP ----- pilot
//	   |                        |                  |
//	   [ yamux (local)         ][ TLS 1.3 + yamux ]      carriers
//	   [ Open ->               ][ Open ->         ]      each stream, hop by hop
//	   [ TLS 1.3, ALPN names the stream's kind    ]      end to end
//	   [ frames of package wire, or raw bytes     ]
//
// A node is made by [New], gives and takes carriers with [Endpoint.Connect] and
// [Endpoint.Serve], and is told what happens on [Endpoint.Events]. A process
// without an identity gets one from a [Signer], by [Join] or, when the signer
// has to come to it, by waiting in Serve with a [JoinRequest].
//
// The package is not a router: which hub leads where is decided elsewhere and
// told by [Endpoint.SetRoutes], [Endpoint.SetHubs] and [Endpoint.SetRoute].
package transport
