package sim_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

var update = flag.Bool("update", false, "write the expected output of the scenarios anew")

// TestScenarios plays the scenarios that are built in: what they expect must
// hold, and be all that they expect.
func TestScenarios(t *testing.T) {
	for _, name := range sim.Scenarios() {
		if name == "starved" && os.Getenv("ZORILLA_SIM_LONG") == "" {
			continue // ten virtual hours
		}
		t.Run(name, func(t *testing.T) {
			text, ok := sim.BuiltIn(name)
			if !ok {
				t.Fatal("it is not there")
			}
			s, err := sim.ParseScenario(name+".txt", text)
			if err != nil {
				t.Fatal(err)
			}
			out := s.Play(nil, nil)
			for _, v := range out.Violations {
				t.Errorf("%s\nagain with: go run ./cmd/zorilla-sim run --scenario %s --log", v, name)
			}
			golden := "testdata/" + name + ".golden"
			got := strings.Join(out.Report, "\n") + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got):\n%s", golden, d)
			}
			if again := s.Play(nil, nil); again.Digest != out.Digest {
				t.Errorf("twice: digests %s and %s", out.Digest, again.Digest)
			}
		})
	}
}
