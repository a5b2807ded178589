package hub_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/hub"
)

// end describes one: its addresses, then after "as" how it is seen, on port
// 5000 of its own; "!" means that it does not listen.
func end(t *testing.T, text string) hub.End {
	t.Helper()
	e := hub.End{Port: 5000, Listens: !strings.HasPrefix(text, "!")}
	local, seen, _ := strings.Cut(strings.TrimPrefix(text, "!"), " as ")
	for _, s := range strings.Fields(local) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		e.Local = append(e.Local, p)
	}
	for _, s := range strings.Fields(seen) {
		p, err := netip.ParseAddrPort(s)
		if err != nil {
			t.Fatal(err)
		}
		e.Observed = append(e.Observed, p)
	}
	return e
}

func show(calls []hub.Call) string {
	var all []string
	for _, c := range calls {
		all = append(all, fmt.Sprintf("%v %v %v", c.After.Milliseconds(), c.By, c.To))
		if c.Bound != (c.By == hub.Simultaneous) {
			all = append(all, "from the wrong port")
		}
	}
	return strings.Join(all, ", ")
}

// TestCalls has every pair of kinds of ends. The first of each pair asks.
func TestCalls(t *testing.T) {
	const (
		open   = "198.51.100.1/24 as 198.51.100.1:5000"
		open2  = "203.0.113.2/24 as 203.0.113.2:5000"
		cone   = "10.0.0.1/24 as 192.0.2.1:6000" // a translator with one outer port, or of whom little is known
		cone2  = "10.9.0.1/24 as 192.0.2.2:7000" //
		dep    = "10.0.0.3/24 as 192.0.2.3:6000 192.0.2.3:6001"
		dep2   = "10.9.0.4/24 as 192.0.2.4:7000 192.0.2.4:7001"
		quiet  = "!10.0.0.5/24 as 192.0.2.5:6000" // a launcher
		inner  = "10.0.0.6/24 as 10.0.0.6:5000"   // seen by its hub only
		inner2 = "10.9.0.7/24"                    // by nobody
	)
	for _, test := range []struct{ a, b, asks, answers string }{
		{open, open2, "0 direct 203.0.113.2:5000, 700 simultaneous 203.0.113.2:5000", "300 reverse 198.51.100.1:5000, 700 simultaneous 198.51.100.1:5000"},
		{open, cone2, "0 direct 192.0.2.2:7000, 700 simultaneous 192.0.2.2:7000", "300 reverse 198.51.100.1:5000, 700 simultaneous 198.51.100.1:5000"},
		{open, dep2, "400 simultaneous 192.0.2.4:7000", "0 reverse 198.51.100.1:5000, 400 simultaneous 198.51.100.1:5000"},
		{open, inner2, "", "0 reverse 198.51.100.1:5000"},
		{cone, open2, "0 direct 203.0.113.2:5000, 700 simultaneous 203.0.113.2:5000", "300 reverse 192.0.2.1:6000, 700 simultaneous 192.0.2.1:6000"},
		{cone, cone2, "0 direct 192.0.2.2:7000, 700 simultaneous 192.0.2.2:7000", "300 reverse 192.0.2.1:6000, 700 simultaneous 192.0.2.1:6000"},
		{cone, dep2, "400 simultaneous 192.0.2.4:7000", "0 reverse 192.0.2.1:6000, 400 simultaneous 192.0.2.1:6000"},
		{cone, inner2, "", "0 reverse 192.0.2.1:6000"},
		{dep, open2, "0 direct 203.0.113.2:5000, 300 simultaneous 203.0.113.2:5000", "300 simultaneous 192.0.2.3:6000"},
		{dep, cone2, "0 direct 192.0.2.2:7000, 300 simultaneous 192.0.2.2:7000", "300 simultaneous 192.0.2.3:6000"},
		{dep, dep2, "", ""},
		{dep, inner2, "", ""},
		{quiet, open2, "0 direct 203.0.113.2:5000, 300 simultaneous 203.0.113.2:5000", "300 simultaneous 192.0.2.5:6000"},
		{quiet, cone2, "0 direct 192.0.2.2:7000, 300 simultaneous 192.0.2.2:7000", "300 simultaneous 192.0.2.5:6000"},
		{quiet, dep2, "", ""}, // the only port that could be called does not listen
		{quiet, inner2, "", ""},
		{inner, open2, "0 direct 203.0.113.2:5000", ""},
		{inner, cone2, "0 direct 192.0.2.2:7000", ""},
		{inner, dep2, "", ""},
		{inner, inner2, "", ""},
		{open, quiet, "400 simultaneous 192.0.2.5:6000", "0 reverse 198.51.100.1:5000, 400 simultaneous 198.51.100.1:5000"},
		// Of one network, and of networks that only look the same.
		{inner, cone, "0 direct 10.0.0.1:5000, 100 direct 192.0.2.1:6000", "400 reverse 10.0.0.6:5000"},
		{"10.0.0.1/24", "10.0.0.2/16", "", ""},
		{"10.0.0.1/32", "10.0.0.1/32", "", ""},
		// Behind one translator.
		{cone, "10.0.5.5/24 as 192.0.2.1:9000", "0 direct 10.0.5.5:5000, 100 direct 192.0.2.1:9000, 800 simultaneous 192.0.2.1:9000",
			"400 reverse 10.0.0.1:5000, 400 reverse 192.0.2.1:6000, 800 simultaneous 192.0.2.1:6000"},
		// Behind two, one of a provider's.
		{"100.64.0.9/10 as 192.0.2.8:1", "100.64.0.9/24 as 192.0.2.9:1", "0 direct 192.0.2.9:1, 700 simultaneous 192.0.2.9:1", "300 reverse 192.0.2.8:1, 700 simultaneous 192.0.2.8:1"},
	} {
		asks, answers := hub.Calls(end(t, test.a), end(t, test.b), false)
		if diff := cmp.Diff([]string{test.asks, test.answers}, []string{show(asks), show(answers)}); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", test.a, test.b, diff)
		}
	}
	asks, answers := hub.Calls(end(t, inner), end(t, inner2), true)
	if got := show(asks) + "; " + show(answers); got != "0 direct 10.9.0.7:5000; 100 reverse 10.0.0.6:5000" {
		t.Errorf("of one site: %s", got)
	}
}

// TestCallsBounded holds for ends that say far too much.
func TestCallsBounded(t *testing.T) {
	a, b := end(t, ""), end(t, "")
	for i := range byte(200) {
		for e, net := range map[*hub.End]byte{&a: 1, &b: 2} {
			e.Local = append(e.Local, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, net, i}), 24), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 8))
			e.Observed = append(e.Observed, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, net, 0, i}), 9))
		}
	}
	asks, answers := hub.Calls(a, b, true)
	if len(asks) > 18 || len(answers) > 18 {
		t.Errorf("%d and %d calls", len(asks), len(answers))
	}
	byTime := func(a, b hub.Call) int { return int(a.After - b.After) }
	if !slices.IsSortedFunc(asks, byTime) || !slices.IsSortedFunc(answers, byTime) || asks[len(asks)-1].After > time.Second {
		t.Error("not in the order of time, or too late")
	}
}
