// Package staging moves files between peers: input sets to workers, collected
// outputs home, and what workers print while they print it.
//
// The one rule: bytes are trusted by their digest, never by who sent them. A
// file set is a [wire.Manifest], named by the BLAKE3 digest of its encoding;
// its files are lists of chunks, each named by its own digest. Whoever holds
// chunks can serve them; whoever fetches them verifies each before it keeps it.
//
//	home                                 pilot
//	Build ──► Set ── Serve ══stream══► Store.Fetch ──► Store ──► Materialize ──► sandbox
//	                                                                               │
//	FetchInto ◄══════stream══════ Serve ◄── Set ◄────────── Collect ◄──────────────┤
//	Sink ◄───────────stream══════ Spool ◄── pipe ◄─────────────────────────────────┘
//
// Outputs that are printed travel differently: a [Spool] reads a worker's pipe
// and a [Sink] writes it to a file at home, byte for byte, over any number of
// broken streams; [Lines] prepares them for a display.
//
// The package knows no network and no scheduling: it speaks over a [Stream]
// that its caller opened, to a peer that its caller authenticated. Every path
// that came from elsewhere is used through an [os.Root].
package staging
