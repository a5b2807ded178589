// Package testbed runs real OpenSSH servers and queueing systems for tests, and
// wide-area networks between them, on one Linux machine, without touching it.
//
// A [Farm] is a small network of hosts, an [Odd] one of hosts that are odd each in
// its own way, a [WAN] one of sites with distances, firewalls and NATs between them,
// a [Grid] one of clusters with a real Slurm or Grid Engine each. Every [Host] has a network, mount, uts, ipc and pid namespace
// of its own; its root file system is an overlay on the machine's own, so it has
// the machine's programs and none of its users, files or processes. What a test
// does in a host is gone with the host, but for the disks that a cluster's hosts
// have again when they reboot. The hosts hang on bridges in namespaces that are attached to nothing, so two
// networks, in one process or in two, cannot meet. This is a farm:
//
//	client ─┬─ plain        a noisy .bashrc
//	        ├─ bastion ───┬─ inner1
//	        │             └─ inner2      no route from the client
//	        └─ noforward ─── inner3      sshd forbids all forwarding
//
// The client is only a network namespace: [Net.Dial] makes connections from
// it, and [Net.Command] runs programs in it that see the machine's files.
//
// The one rule to know: a network lives exactly as long as the test process that
// started it, or shorter. Everything hangs on one pipe whose only writing end
// is in that process. When it closes, be it by [Net.Close] or by a SIGKILL,
// the first process of every host ends, which ends the host and all in it, and
// a keeper process ends what still runs in the client's namespace and removes
// the network's directory, in which clusters have their disks; the cards of a
// WAN's router are open files of the test process. No namespace has a name and no mount is made in the machine's
// own mount namespace, so there is nothing else to clean.
//
// The environment variable ZORILLA_TESTBED decides: unset, tests that need a
// network are skipped; "use", they run with the packages that are installed;
// "install", missing packages are installed first. See [Require].
//
// The package is not a container engine: there are no limits, no images and no
// security boundary. A host runs what a test gives it, as root of the machine.
package testbed
