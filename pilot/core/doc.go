// Package core is the agent's mind: one [Node] is the overlay, the slots and
// every job of one node composed into one pure machine.
//
// The flow, after etcd's raft: the shell around a Node tells it what happened
// (a link is up, a message came, a worker exited, time passed) by calling its
// methods, then takes what is to be done with [Node.Ready] and does it:
//
//	node.Receive(now, from, msg)
//	for _, s := range node.Ready().Sends { transport.Send(s.To, s.Msg) }
//	timer.Reset(node.Next() - now)
//
// The one rule to know: effects may fail. A message that cannot be sent is
// dropped by the shell; everything that matters is repeated until the other
// side shows that it knows. Fetches, starts, kills and collects are answered
// exactly once each, with Fetched, Started and Exited, and Collected.
//
// Of the overlay a Node has: a view of the session (package gossip) and its own
// place in it (vivaldi), both over links that are open and, where there is
// none, in datagrams that hubs pass on; the graph of hubs (hub), if it relays;
// and a part in finding out who has died (detect). Launchers know every pilot,
// hubs those that they serve, pilots whom they meet: everybody else is found by
// address, an identity with the hubs that relay to it.
//
// A Node has no goroutine, lock, socket, clock or source of randomness of its
// own: it is driven by one goroutine, in the agent by a select loop and in the
// simulation by an event heap, and does the same thing for the same inputs.
// Time is a duration since any origin of a clock that runs through suspend.
// Bulk bytes never pass through it.
package core
