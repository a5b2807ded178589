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
// Bulk (files, output) begins on such a stream and leaves it once it has carried
// much. Then each two neighbours on the way make a lane: a connection of its
// own for this one stream, presented with a ticket that is good once and was
// agreed over the carrier. A lane carries the end-to-end TLS and nothing around
// it, so that a hub splices it in the kernel; where no lane can be made, the hop
// goes on over the carrier. Lanes within a machine or a cluster are not paced,
// whatever the system does by itself: pacing costs a hub more than the bytes
// do. What is sent is cut into frames with offsets (a
// flow), which is how it changes from one connection to another, and how it is
// spread over up to eight of them, its stripes, where a long path loses packets.
// The ticket keeps strangers from using a hub. It does not protect the bytes
// behind it: TLS does, end to end.
//
// A node may be a guest on somebody's login node: [Limits] bound the bulk that it
// moves, by bytes per second and by processor time. Streams then take turns for a
// common rate, in pieces that the kernel may still splice; links, joins and all
// other control are counted and go first.
//
// Nothing is encrypted twice. Directly between two nodes, streams on a TCP carrier
// rest on the carrier's TLS and its lanes on their own; lanes of a local carrier
// rest, as the carrier does, on what it runs over: the unix socket of one user
// and the SSH connection behind it. As soon as a hub is between them, the two
// ends speak TLS.
//
// A node is made by [New], gives and takes carriers with [Endpoint.Connect] and
// [Endpoint.Serve], and is told what happens on [Endpoint.Events]. A process
// without an identity gets one from a [Signer], by [Join] or, when the signer
// has to come to it, by waiting in Serve with a [JoinRequest].
//
// Two nodes that meet through hubs find a direct path by themselves when they
// exchange bulk, or when [Endpoint.Improve] asks, if [Config].Network is set.
// Nobody waits for it: the stream through the hubs is handed over at once, and
// later ones use what has been found meanwhile.
//
//	A                                   B
//	Reach{secret, port, addresses} <->  Reach     at once, both having asked the
//	Punch                           ->            acceptors they know as what
//	                                <-  Punch     they are seen (Observed)
//	Punch{go}                       ->
//	calls, as hub.Calls says       <->  calls     for 5 seconds
//	secret, method                 <->  secret, method
//	TLS, and a carrier like any other
//
// The package is not a router: which hub leads where is decided elsewhere and
// told by [Endpoint.SetRoutes], [Endpoint.SetHubs] and [Endpoint.SetRoute].
package transport
