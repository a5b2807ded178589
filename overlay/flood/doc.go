// Package flood brings jobs and slots together: a [Board] holds the adverts a
// node knows, [Slots] says to whom a pilot's slots belong.
//
// The flow:
//
//	primary   hub        pilot
//	Advert ──> ──> ──>   Board.Post: news? pass it on; Slots.Offer  free -> offered
//	   <────────────── Claim
//	Hold   ────────────> Slots.Hold                             offered -> held
//	Grant  ────────────> Slots.Commit                              held -> committed
//
// The one rule to know: a slot that was promised comes back. An offer expires,
// a held claim has a lease, a committed slot is freed when its worker's process
// has ended. Held claims of a younger job can be wounded by an older one,
// committed slots never, so that gangs that gather at the same time cannot wait
// for each other in a circle.
//
// The package is pure. It does not know what a job does with its slots, nor
// how messages travel.
package flood
