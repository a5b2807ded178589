package testbed

import "fmt"

// wallRules lets nodes connect to the scheduler's own ports of their head, and
// makes what they send elsewhere vanish. Answers come through.
func wallRules() string {
	return fmt.Sprintf(`table inet wall {
chain input {
type filter hook input priority filter; policy accept;
iifname != eth1 accept
ct state established,related accept
meta l4proto { icmp, icmpv6 } accept
tcp dport { %d, %d-%d } accept
drop
}
}
`, slurmctldPort, srunFirst, srunLast)
}
