package slurm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestRealCarry has a file as large as a packed pilot, which base64 would make too
// long for Slurm, travel in a job's script, where neither head nor nodes have xz.
func TestRealCarry(t *testing.T) {
	c := testbed.SharedCluster(t, testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4, Shared: "/shared"})
	for _, h := range c.Hosts() {
		if _, err := h.Exec(t.Context(), "mv", "/usr/bin/xz", "/usr/bin/away-xz"); err != nil {
			t.Fatal(err)
		}
		defer h.Exec(context.WithoutCancel(t.Context()), "mv", "/usr/bin/away-xz", "/usr/bin/xz")
	}
	b := batch.New(slurm.Dialect(), ssh.Backend{Agent: "none"})
	l, err := b.Open(t.Context(), c.Target(t, "slurm+ssh", c.Head))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := make([]byte, 3_300_000)
	rand.Read(data)
	want := fmt.Sprintf("%x", sha256.Sum256(data))
	for shape, nodes := range map[gat.Shape]int{gat.Array: 1, gat.Multi: 2} {
		out := path.Join(c.SharedDir(), "carry-"+rand.Text())
		began := time.Now()
		ids, err := l.Submit(t.Context(), gat.JobSpec{
			Argv:      []string{"/bin/sh", "-c", "sha256sum data; command -v xz"},
			Stderr:    out,
			Files:     []gat.JobFile{{Name: "data", Mode: 0o600, Data: data}},
			Resources: gat.Resources{Shape: shape, Nodes: nodes},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: submitted in %v", shape, time.Since(began))
		began = time.Now()
		var got bytes.Buffer
		for tick := time.Tick(100 * time.Millisecond); strings.Count(got.String(), "data\n") < nodes; <-tick {
			if time.Since(began) > time.Minute {
				t.Fatalf("%v: job %s says %q", shape, ids, got.String())
			}
			got.Reset()
			l.(gat.Files).Get(t.Context(), out, &got, 4096)
		}
		t.Logf("%v: unpacked %v later", shape, time.Since(began))
		if strings.Count(got.String(), want) != nodes || strings.Contains(got.String(), "xz") {
			t.Errorf("%v: the nodes say %q, want %d times %s", shape, got.String(), nodes, want)
		}
		if err := l.(gat.Files).Remove(t.Context(), out); err != nil {
			t.Error(err)
		}
	}
	l.Close()
	c.NoLeftovers(t)
}
