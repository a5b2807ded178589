package sim_test

import (
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

// TestParseRefuses holds that what a scenario gets wrong is told with file and line.
func TestParseRefuses(t *testing.T) {
	const site = "site a\npilots a 8\nend 1m\n"
	for line, want := range map[string]string{
		"whatever":                         "s.txt:4: \"whatever\"",
		"site":                             "s.txt:4: \"\" is no name",
		"site a":                           "s.txt:4: site a is there twice",
		"site b.c":                         "is no name",
		"site b hubs 0":                    "hubs \"0\": want 1 to 8",
		"site b hubs 1 hubs 1":             "there twice",
		"site b reach far":                 "reach \"far\": want open",
		"site b behind c":                  "no site \"c\" above",
		"site b lan":                       "lan \"\": want a time",
		"site b lan 1ms more":              "\"more\" is unknown here",
		"pilots b 3":                       "no site \"b\" above",
		"pilots a 0":                       "pilots \"0\"",
		"pilots a 1 slots 100000":          "slots \"100000\"",
		"grid 100":                         "a grid has sites of its own",
		"wan a b 1ms":                      "no way between \"a\" and \"b\"",
		"seed x":                           "seed \"x\"",
		"clocks wrong":                     "want exact or skewed",
		"noise 5":                          "want 0% to 90%",
		"noise NaN%":                       "want 0% to 90%",
		"job":                              "has no name",
		"job x workers 0":                  "workers \"0\"",
		"job x workers 1 min 2":            "at least 2 of 1",
		"job x by b.1":                     "line 4: job by \"b.1\"",
		"job x by a.*":                     "want one place",
		"job x on-failure pray":            "pray",
		"at":                               "at \"\": want a time",
		"at 10s":                           " whom?",
		"at 10s kill":                      "kill whom?",
		"at 10s kill a.9":                  "line 4: no place \"a.9\"",
		"at 10s kill a.3-1":                "no place",
		"at 10s kill a.0-9":                "no place",
		"at 10s kill a.hub1":               "no place",
		"at 10s kill a.0 twice":            "want machine or machine",
		"at 10s cut a":                     "want for, and a time",
		"at 10s cut a for 5":               "want a time from",
		"at 10s apart b for 5s":            "no site \"b\"",
		"at 10s starve a.1 for 5s":         "pause \"for\"",
		"at 2m kill a.1":                   "after the end",
		"at 10s cancel x":                  "no job \"x\" above",
		"end":                              "end \"\"",
		"end 0s":                           "end \"0s\"",
		"expect":                           "want job, lost",
		"expect job x ok":                  "no job \"x\" above",
		"expect seen":                      "want within",
		"expect deaths many":               "deaths \"many\"",
		"job x\nexpect job x fine":         "s.txt:5: outcome \"fine\"",
		"job x\nexpect job x ok within":    "s.txt:5: time \"\"",
		"job x\nexpect lost x -1":          "s.txt:5: attempts \"-1\"",
		"job x\nexpect job x ok in 5s":     "s.txt:5: \"in\": want within",
		"pilots a 3 # and so on\nexpected": "s.txt:5: \"expected\"",
	} {
		_, err := sim.ParseScenario("s.txt", site+line+"\n")
		if err == nil || !strings.HasPrefix(err.Error(), "s.txt:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	for _, text := range []string{"", "end 1m", "site a\nend 1m", "grid 10", "site a\npilots a 100000\nend 1m"} {
		if _, err := sim.ParseScenario("s.txt", text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzParseScenario(f *testing.F) {
	for _, name := range sim.Scenarios() {
		text, _ := sim.BuiltIn(name)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := sim.ParseScenario("f", text); (s == nil) == (err == nil) {
			t.Errorf("scenario %v, error %v", s, err)
		}
	})
}
