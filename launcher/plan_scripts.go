package launcher

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// ScriptPlan is one of our scripts that a run has /bin/sh run at hosts. What differs
// from run to run are its arguments, which are data.
type ScriptPlan struct {
	Name  string   `json:"name"`
	What  string   `json:"what"`  // it does, a phrase
	Sites []string `json:"sites"` // where
	Bytes int      `json:"bytes"`

	// Digest is the beginning of its SHA-256, as a receipt tells it.
	Digest string `json:"sha256"`
	Text   string `json:"text"`
}

// planScripts lists the scripts that a run has run at the sites, in the order of their
// use.
func planScripts(sites []*Site) []ScriptPlan {
	scripts := []struct {
		name, what, text string
		where            func(*Site) bool
	}{
		{"probe.sh", "looks at a host and makes the run's directory", probeScript, func(s *Site) bool { return !s.Local() && !(s.Batch() && s.NoHub) }},
		{"upload.sh", "takes the pilot", uploadScript, func(s *Site) bool { return !s.Local() && !(s.Batch() && s.NoHub) }},
		{"relay.sh", "opens a connection to a host behind, where the server forwards none", relayScript, func(s *Site) bool { return len(s.Hosts) > 0 }},
		{"find.sh", "finds the run's directory, where the launcher did not hear of it", findScript, func(s *Site) bool { return !s.Local() }},
		{"clean.sh", "sees to it that nothing is left, and says what is", cleanScript, func(*Site) bool { return true }},
	}
	var plans []ScriptPlan
	for _, x := range scripts {
		var at []string
		for _, s := range sites {
			if x.where(s) && !slices.Contains(at, s.Name) {
				at = append(at, s.Name)
			}
		}
		if len(at) > 0 {
			plans = append(plans, ScriptPlan{x.name, x.what, at, len(x.text), fmt.Sprintf("%.6x", sha256.Sum256([]byte(x.text))), strings.TrimSuffix(x.text, "\n") + "\n"})
		}
	}
	return plans
}
