// Package flood brings jobs and slots together. [Tables] hold where slots are
// free, as hubs say; a [Search] takes a job's adverts there, or in rings, or
// everywhere; a [Board] holds the adverts a node knows; [Slots] says to whom a
// pilot's slots belong.
//
// The flow:
//
//	pilot     hub        hubs and launchers
//	Free ──> Tables ──> Tables                       who has how much of what
//
//	primary   hub        pilot
//	Search.Next
//	Advert ──> ──> ──>   Slots.Offer                  free -> offered
//	   <────────────── Claim
//	Hold   ────────────> Slots.Hold                offered -> held
//	Grant  ────────────> Slots.Commit                 held -> committed
//
// An advert that asks goes to the hubs that are to give slots, and from them to
// as many pilots as it takes. One that is open goes to every pilot of the hubs
// it is for, is kept there, and told to those that come later: that is a job's
// place in every pilot's queue.
//
// The one rule to know: a slot that was promised comes back. An offer expires,
// a held claim has a lease, a committed slot is freed when its worker's process
// has ended. Held claims of a younger job can be wounded by an older one, and
// committed slots never (wound-wait: Rosenkrantz, Stearns and Lewis, 1978), so
// that gangs that gather at the same time cannot wait for each other in a circle.
//
// Nothing that a node says of its slots is relied on: a hub or pilot that has
// less than it says costs time that is bounded, and is then left alone.
//
// The package is pure. It does not know what a job does with its slots, nor
// how messages travel.
package flood
