package batch_test

import (
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// Each command that a queueing system is given is told of, and its script's size only.
func TestCommandsAreTold(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	var mu sync.Mutex
	told := make(map[string]int)
	var all []string
	observe := func(op gat.Operation) {
		mu.Lock()
		defer mu.Unlock()
		if op.Op != "command" {
			return
		}
		if op.Site != "das" || op.URL == "" || op.At.IsZero() || op.Err != nil {
			t.Errorf("told: %+v", op)
		}
		all = append(all, op.Detail)
		for _, tool := range []string{"sbatch", "scancel"} {
			if strings.Contains(op.Detail, tool) {
				told[tool]++
				if tool == "sbatch" && op.Up == 0 && !strings.HasPrefix(op.Detail, "sh -c") {
					t.Errorf("a script of no size: %+v", op)
				}
			}
		}
	}
	s, err := gat.NewSite(gat.SiteConfig{Name: "das", URLs: []*url.URL{f.URL()}, Backends: []gat.Backend{f.Backend}, PollEvery: 20 * time.Millisecond, Retries: -1, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.Write(t, "hold", "")
	ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/cat"}, Name: "told", Count: 2, Stdin: []byte("a secret"), Env: []string{"KEY=another secret"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if told["sbatch"] != 1 || told["scancel"] != 1 {
		t.Errorf("told of %v:\n%s", told, strings.Join(all, "\n"))
	}
	if text := strings.Join(all, "\n"); strings.Contains(text, "secret") || strings.Contains(text, "end-") {
		t.Errorf("told too much:\n%s", text)
	}
}
