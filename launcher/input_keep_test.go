package launcher_test

import (
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// cold is more than a run sends that finds the pilot there, and less than one
// that brings it, in bytes.
const cold = 1 << 20

func TestKeep(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	site := badURL(b.url(farm.Plain))
	list := func() string {
		return onHost(t, farm.Plain, "cd /tmp && find . -mindepth 1 -printf '%M %U %p\\n' | sort -k3")
	}
	// run runs a job and says how many bytes it sent, and what it left.
	run := func(site string) (sent int64, left string) {
		t.Helper()
		r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 1}, site, nil)
		wantOK(t, r)
		if got := b.stdout(r, 0); got != "plain\n" {
			t.Errorf("printed %q, want plain", got)
		}
		b.nothingHere(r.Run)
		if p, err := farm.Plain.Processes(t.Context(), "zorilla-pilot"); err != nil || len(p) > 0 {
			t.Errorf("processes left: %v, %v", p, err)
		}
		for _, s := range r.Report.Sites {
			sent = s.Sent
		}
		return sent, list()
	}

	first, kept := run(site + "keep = true\n")
	lines := strings.Fields(kept)
	if first < cold || len(lines) != 6 || lines[0] != "drwx------" || lines[3] != "-rwx------" || !strings.Contains(lines[5], "/pilot-") {
		t.Fatalf("the first run sent %d bytes and left\n%s\nwant the private directory and the binary in it", first, kept)
	}
	binary := "/tmp/" + strings.TrimPrefix(lines[5], "./")

	if sent, left := run(site + "keep = true\n"); sent >= cold || left != kept {
		t.Errorf("the second run sent %d bytes and left\n%s\nwant\n%s", sent, left, kept)
	}
	// What a run without keep did not bring it does not take away.
	if sent, left := run(site); sent >= cold || left != kept {
		t.Errorf("a run without keep sent %d bytes and left\n%s\nwant\n%s", sent, left, kept)
	}
	// A file is believed by its content only.
	for what, spoil := range map[string]string{
		"is cut off":          `head -c 1000 "$1" >/tmp/x && cat /tmp/x >"$1" && rm /tmp/x`,
		"has other content":   `printf '#!/bin/sh\necho evil >/tmp/evil\n' >"$1"`,
		"is empty":            `: >"$1"`,
		"is not executable":   `chmod 600 "$1"`,
		"is a link elsewhere": `cp "$1" /tmp/x && rm "$1" && ln -s /bin/true "$1" && rm /tmp/x`,
		"is a link to itself": `rm "$1" && ln -s "$1" "$1"`,
	} {
		onHostAs(t, farm.Plain, "alice", spoil, binary)
		if sent, left := run(site + "keep = true\n"); left != kept {
			t.Errorf("where the kept binary %s, a run sent %d bytes and left\n%s\nwant\n%s", what, sent, left, kept)
		}
	}
	onHost(t, farm.Plain, "rm -r /tmp/zorilla-*")
	farm.NoLeftovers(t)
}

// TestPlantedBinary has another user put a binary where a kept one would be.
func TestPlantedBinary(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	farm.Plain.Scratch(t, "/shared", 64<<20, false)
	site := badScratch(b, farm.Plain, "/shared") + "keep = true\n"
	r, _ := b.run(launcher.Job{App: b.script("true\n"), Workers: 1}, site, nil)
	wantOK(t, r)
	name := strings.TrimSpace(onHost(t, farm.Plain, "cd /shared && echo zorilla-*/pilot-* && rm -r zorilla-*"))
	onHostAs(t, farm.Plain, "bob", `mkdir -m 755 "/shared/${1%/*}" && printf '#!/bin/sh\ntouch /shared/evil\n' >"/shared/$1" && chmod 755 "/shared/$1"`, name)
	b.fails(bad{site: site, says: []string{"belongs to another user"}})
	if got := strings.TrimSpace(onHost(t, farm.Plain, "cd /shared && echo * zorilla-*/*")); strings.Contains(got, "evil") || strings.Contains(got, "s-") {
		t.Errorf("the host has %q", got)
	}
}
