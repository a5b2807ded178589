// Package policy is the word of a host's administrator: a file, by convention
// /etc/zorilla/policy.toml, that every hub and pilot on the host obeys, whoever
// started it.
//
//	deny = true                                  # nothing of Zorilla runs here,
//	message = "use the nodes of cluster2"        # which is said to whoever tries
//
//	max_cpu = "200%"                             # of one core: 2 cores
//	max_bandwidth = "20MB/s"
//	max_pilots = 2                               # of one user at a time; 0: hubs only
//	max_lifetime = "12h"
//
// All keys may be left out. The one rule: a policy can only take away, and what
// is there but cannot be read or understood takes away everything. So a slip of
// the pen costs runs, which complain and quote the line, and never the
// administrator's peace; and it does not matter who owns the file.
//
// The package reads and explains; pilot obeys, launcher tells the user. It is
// not a TOML library: it takes lines of KEY = VALUE and comments, which every
// TOML file of this content consists of.
package policy
