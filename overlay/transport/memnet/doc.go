// Package memnet is a network in memory, for tests of how nodes reach each
// other: hosts on the internet and in private networks, address translators of
// every kind that RFC 4787 (and RFC 5382, for TCP) tells apart, stateful
// firewalls, hosts that let nothing in and hosts that let nothing out.
//
// A world begins with [New], the internet. [Network.Behind] puts a private
// network behind a [Router], which translates addresses or only filters;
// [Network.Host] attaches a host, whose Dial and Listen give connections that
// behave like the kernel's: a chosen local port can be shared by a listener and
// any number of connections to different ends, a SYN that nobody answers is sent
// again after 1, 3 and 7 seconds, a port that nobody listens on refuses, and two
// ends that dial each other at the same time get one connection (simultaneous
// open, RFC 9293 section 3.5). The opening handshake crosses every router packet
// by packet; an open connection is a pair of queues with the path's delay, and
// routers forget nothing.
//
// The one rule: time is package time's, so that a world inside
// [testing/synctest] runs on the bubble's clock and takes no time at all.
//
// Only TCP over IPv4 exists: nothing here would use UDP. There is no loss, no
// bandwidth and no fragmentation.
package memnet
