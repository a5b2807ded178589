package launcher_test

import (
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/launcher"
)

// TestHubBounds reads what a hub may take, and all that can be wrong with it.
func TestHubBounds(t *testing.T) {
	t.Parallel()
	const ssh = "[site.a]\nurl = \"ssh://h\"\n"
	for _, c := range []struct {
		file      string
		cpu       int
		bandwidth int64
		wrong     string // "" when nothing is
	}{
		{ssh + "hub_cpu = \"10%\"\nhub_bandwidth = \"10MB/s\"\n", 100, 10e6, ""},
		{ssh + "hub_cpu = \"2.5 %\"\nhub_bandwidth = \"1GiB/s\"\nhub = \"auto\"\n", 25, 1 << 30, ""},
		{"[defaults]\nhub_cpu = \"250%\"\n" + ssh, 2500, 0, ""},
		{"[defaults]\nhub_cpu = \"250%\"\n" + ssh + "hub = \"none\"\n", 0, 0, ""},
		{"[defaults]\nhub_cpu = \"250%\"\n[site.a]\nurl = \"local:\"\n", 0, 0, ""},
		{"[defaults]\nhub = \"none\"\n" + ssh + "hub = \"auto\"\nhub_cpu = \"5%\"\n", 50, 0, ""},

		{ssh + "hub_cpu = \"10\"\n", 0, 0, `sites.toml:3: site "a": hub_cpu: "10" has no %; write a part of one core, such as "10%", or "200%" for two`},
		{ssh + "hub_cpu = 10\n", 0, 0, `hub_cpu: is a number, want text in quotes; write hub_cpu = "10%"`},
		{ssh + "hub_cpu = \"0%\"\n", 0, 0, `hub_cpu: "0%" is less than the 1% of a core that a hub takes for itself; to have none at all write hub = "none"`},
		{ssh + "hub_cpu = \"-5%\"\n", 0, 0, `hub_cpu: "-5%" is not a part of a core`},
		{ssh + "hub_cpu = \"1000000%\"\n", 0, 0, `hub_cpu: "1000000%" is more than 1024 cores`},
		{ssh + "hub_bandwidth = \"10MB\"\n", 0, 0, `hub_bandwidth: "10MB" has no /s; write bytes per second, such as "10MB/s"`},
		{ssh + "hub_bandwidth = \"0MB/s\"\n", 0, 0, `hub_bandwidth: "0MB/s" is less than 64 KiB/s, which nodes need to talk to each other; to have none at all write hub = "none"`},
		{ssh + "hub_bandwidth = \"100Mbit/s\"\n", 0, 0, `unknown unit "Mbit/s"; known are kB/s, MB/s`},
		{ssh + "hub_bandwidth = \"5000GB/s\"\n", 0, 0, `is more than 1000 GB/s`},
		{ssh + "hub_bandwidth = 10\n", 0, 0, `hub_bandwidth: is a number, want text in quotes; write hub_bandwidth = "10MB/s"`},
		{ssh + "hub = \"none\"\nhub_cpu = \"10%\"\n", 0, 0, `sites.toml:4: site "a": "hub_cpu" bounds a hub, and hub = "none" says that there is none; keep one of them`},
		{"[defaults]\nhub = \"none\"\n" + ssh + "hub_bandwidth = \"1MB/s\"\n", 0, 0, `sites.toml:5: site "a": "hub_bandwidth" bounds a hub, and [defaults] say hub = "none"; write hub = "auto" here`},
		{"[defaults]\nhub = \"none\"\nhub_cpu = \"10%\"\n" + ssh, 0, 0, `sites.toml:3: "hub_cpu" bounds a hub, and hub = "none" says that there is none`},
		{"[site.a]\nurl = \"local:\"\nhub_cpu = \"10%\"\n", 0, 0, `sites.toml:3: site "a": "hub_cpu" bounds a hub, and a "local:" site has none`},
	} {
		got, err := launcher.ParseSites("sites.toml", []byte(c.file), launcher.SitesRules{})
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: the error is %v, want %q", c.file, err, c.wrong)
			}
		case err != nil:
			t.Errorf("%s: %v", c.file, err)
		case got.List[0].HubCPU != c.cpu || got.List[0].HubBandwidth != c.bandwidth:
			t.Errorf("%s: %d thousandths of a core and %d bytes per second, want %d and %d", c.file, got.List[0].HubCPU, got.List[0].HubBandwidth, c.cpu, c.bandwidth)
		}
	}
}
