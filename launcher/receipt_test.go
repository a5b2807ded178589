package launcher_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// bookkeeping writes the state of a run as its launcher would.
func bookkeeping(t *testing.T, dir string) *launcher.State {
	t.Helper()
	state, err := launcher.OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

var receiptStart = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// A run over two sites: one worker was lost with its pilot and started again.
func TestReceiptCountsCores(t *testing.T) {
	t.Parallel()
	state := bookkeeping(t, filepath.Join(t.TempDir(), "state"))
	run, err := state.Create(launcher.Begun{Run: "abcdefgh", Time: receiptStart, User: "alice", Machine: "laptop", Command: []string{"zorilla", "run", "app"}})
	if err != nil {
		t.Fatal(err)
	}
	tell := func(second int, d launcher.EventData) {
		t.Helper()
		if err := run.Journal.Write(launcher.Event{Time: receiptStart.Add(time.Duration(second) * time.Second), Run: "abcdefgh", Data: d}); err != nil {
			t.Fatal(err)
		}
	}
	pilot := func(second int, site, node, state string) {
		tell(second, launcher.PilotChanged{Site: site, Node: node, Role: "pilot", State: state, Slots: 2, Cores: 8})
	}
	worker := func(second, rank, attempt int, site, node, state string) {
		tell(second, launcher.WorkerChanged{Rank: rank, Attempt: attempt, Site: site, Node: node, State: state})
	}
	tell(0, launcher.RunStarted{App: "/home/alice/app", Workers: 2, Sites: []string{"das", "lisa"}})
	tell(1, launcher.PilotChanged{Site: "das", Node: "hub1", Role: "hub", State: "up"})
	pilot(10, "das", "n1", "up")
	pilot(10, "lisa", "n2", "up")
	worker(20, 0, 1, "das", "n1", "running")
	worker(20, 1, 1, "lisa", "n2", "running")
	pilot(30, "lisa", "n2", "gone")
	worker(30, 1, 1, "lisa", "n2", "lost")
	worker(40, 1, 2, "das", "n1", "running")
	worker(60, 0, 1, "das", "n1", "exited")
	worker(61, 0, 1, "das", "n1", "done")
	worker(60, 1, 2, "das", "n1", "exited")
	tell(62, launcher.SiteChanged{Site: "das", State: "clean"})
	tell(70, launcher.RunEnded{Outcome: launcher.OutcomeOK, Wall: 70, Idle: 3})
	seq, err := run.Ledger.Make(launcher.Made{Site: "das", Kind: launcher.KindDir, What: launcher.What{Path: "/tmp/zorilla-1/s-abcdefgh"}})
	if err != nil {
		t.Fatal(err)
	}
	run.Ledger.Confirm(seq, nil)
	run.Ledger.Remove(seq, "clean at the end")
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}

	r, err := state.Receipt("abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	type cores struct{ Taken, Used, Idle float64 }
	got := make(map[string]cores)
	for _, s := range r.Sites {
		got[s.Site] = cores{s.Taken, s.Used, s.Idle}
	}
	got["all"] = cores{r.Total.Taken, r.Total.Used, r.Total.Idle}
	want := map[string]cores{
		"das":  {52 * 8, 40*4 + 20*4, 52*8 - 60*4},
		"lisa": {20 * 8, 10 * 4, 20*8 - 10*4},
		"all":  {72 * 8, 70 * 4, 72*8 - 70*4},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
		t.Errorf("core-seconds (-want +got):\n%s", diff)
	}
	if r.State != "ok" || r.User != "alice" || r.HeldIdle != 3 || len(r.Unread) > 0 {
		t.Errorf("receipt: %+v", r)
	}
	if das, lisa := r.Sites[0], r.Sites[1]; das.Check != "clean" || das.Checked.IsZero() || lisa.Check != "nothing made" {
		t.Errorf("left: das %q, lisa %q", das.Check, lisa.Check)
	}
	text := r.Text()
	for _, want := range []string{"Who        alice, from the machine laptop\n", "  - the directory /tmp/zorilla-1/s-abcdefgh, from ", "(1m10s)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// Whatever names and texts the state holds, the document's lines fit and hold
// nothing that a terminal obeys.
func TestReceiptTextIsPlain(t *testing.T) {
	t.Parallel()
	evil := "a\x1b[2J\r\nb\u0085" + strings.Repeat(" word", 60)
	r := launcher.Receipt{Run: "abcdefgh", State: "app", User: evil, Machine: evil, Command: []string{evil}, Dir: evil, App: evil, Error: evil, Unread: []string{evil},
		Sites: []launcher.SiteReceipt{{Site: "das", URLs: []string{evil}, Error: evil, Check: "left",
			Operations: []launcher.OperationCount{
				{Op: "log in", URL: evil, Detail: evil, Count: 2, Failed: 1, Error: evil},
				{Op: "run", Host: evil, Detail: evil, Count: 3, Failed: 2, Error: evil, Open: 1, Jobs: []string{evil}},
				{Op: "listen", Detail: evil, Count: 1}},
			Things: []launcher.ThingReceipt{{Kind: launcher.KindDir, Path: evil, Left: true}, {Kind: launcher.KindJob, Name: evil, IDs: []string{evil}}},
		}}}
	for line := range strings.Lines(r.Text()) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("a line of %d characters: %s", utf8.RuneCountInString(line), line)
		}
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }) {
			t.Errorf("a line with control characters: %q", line)
		}
	}
}

// A directory that somebody else may write, and files that are not there or too odd,
// are told rather than trusted.
func TestReceiptOfDamage(t *testing.T) {
	t.Parallel()
	state := bookkeeping(t, filepath.Join(t.TempDir(), "state"))
	run, err := state.Create(launcher.Begun{Run: "abcdefgh", Time: receiptStart})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := run.Ledger.Make(launcher.Made{Site: "das", Kind: launcher.KindDir, What: launcher.What{Path: "/tmp/x"}}); err != nil {
			t.Fatal(err)
		}
	}
	run.Ledger.Remove(3, "clean at the end")
	run.Close()
	ledger := filepath.Join(run.Path, "ledger.jsonl")
	data, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	lines[2] = "\x00\xff\n" // the second thing
	lines = append(lines, `{"v":1,"op":"made","seq":999999999,"what":{}}`+"\n", `{"v":1,"op":"removed","seq":-1}`+"\n", strings.Repeat("x", 3<<20)+"\n", `{"v":1,"op":"ma`)
	writeFile(t, ledger, strings.Join(lines, ""), 0o600)
	writeFile(t, filepath.Join(run.Path, "events.jsonl"), "[]\n{\"v\":1,\"type\":\"later\"}\n{\"v\":1,\"type\":\"pilot\",\"slots\":\"many\"}\n", 0o600)
	os.Remove(filepath.Join(run.Path, "operations.jsonl"))

	r, err := state.Receipt("abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	if r.State != "dead" || len(r.Sites) != 1 || len(r.Sites[0].Things) != 2 || r.Sites[0].Check != "left" {
		t.Errorf("receipt: %+v", r)
	}
	told := strings.Join(r.Unread, "\n")
	for _, want := range []string{"2 damaged lines of ledger.jsonl", "2 damaged lines of events.jsonl", "operations.jsonl", "what 1 lost line of the ledger told"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told:\n%s", want, told)
		}
	}
	if _, err := state.Receipt("../../etc"); err == nil {
		t.Error("a path is taken for a run")
	}
	if os.Getuid() >= 0 { // not on Windows
		if err := os.Chmod(run.Path, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Receipt("abcdefgh"); err == nil || !strings.Contains(err.Error(), "open to others") {
			t.Errorf("a directory that all may write: %v", err)
		}
	}
}

// A receipt names a script as the plan does.
func TestPlanNamesScriptsAsReceiptsDo(t *testing.T) {
	t.Parallel()
	app := filepath.Join(t.TempDir(), "app.sh")
	writeFile(t, app, "#!/bin/sh\n", 0o700)
	u, err := url.Parse("ssh://me@head")
	if err != nil {
		t.Fatal(err)
	}
	sites := []*launcher.Site{launcher.LocalSite(), {Name: "das", URLs: []*url.URL{u}, Hosts: []string{"node1"}, Slots: 1}}
	plan, err := launcher.PlanRun(t.Context(), launcher.Job{App: app, Workers: 1}, launcher.Options{Sites: sites})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range plan.Scripts {
		names = append(names, s.Name)
		told := gat.Command{Argv: []string{"/bin/sh", "-c", s.Text}}.Text()
		if !strings.Contains(told, "["+strconv.Itoa(s.Bytes)+" bytes, sha256 "+s.Digest+"]") {
			t.Errorf("%s: the plan says %d bytes, %s; a receipt %s", s.Name, s.Bytes, s.Digest, told)
		}
	}
	if diff := cmp.Diff([]string{"probe.sh", "upload.sh", "relay.sh", "find.sh", "clean.sh"}, names); diff != "" {
		t.Errorf("scripts (-want +got):\n%s", diff)
	}
}

// Whatever is in the files of a run, its receipt is a document.
func FuzzReceipt(f *testing.F) {
	f.Add([]byte(`{"v":1,"op":"begun","begun":{"run":"abcdefgh"}}`+"\n"), []byte(`{"v":1,"type":"pilot","site":"das","node":"n","role":"pilot","state":"up","slots":0,"cores":-4}`+"\n"),
		[]byte(`{"v":1,"n":1,"site":"das","op":"log in","count":-1,"failed":7,"took_s":-1e300}`+"\n"))
	f.Add([]byte(`{"v":1,"op":"made","seq":1,"what":{"jobs":["1"]},"kind":"job"}`+"\n"+`{"v":1,"op":"removed","seq":1}`+"\n"), []byte("{}\n"), []byte("\n\n{\n"))
	state, err := launcher.OpenState(filepath.Join(f.TempDir(), "state"))
	if err != nil {
		f.Fatal(err)
	}
	run, err := state.Create(launcher.Begun{Run: "abcdefgh"})
	if err != nil {
		f.Fatal(err)
	}
	run.Close()
	f.Fuzz(func(t *testing.T, ledger, events, operations []byte) {
		for name, data := range map[string][]byte{"ledger.jsonl": ledger, "events.jsonl": events, "operations.jsonl": operations} {
			if err := os.WriteFile(filepath.Join(run.Path, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := state.Receipt("abcdefgh")
		if err != nil {
			t.Fatal(err)
		}
		text := r.Text()
		if !strings.HasPrefix(text, "Receipt of the run abcdefgh\n") || !utf8.ValidString(text) {
			t.Errorf("no document:\n%q", text)
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 }) {
			t.Errorf("control characters:\n%q", text)
		}
		for _, s := range r.Sites {
			if s.Idle < 0 || s.Used < 0 || s.Taken < s.Used {
				t.Errorf("site %q: %+v", s.Site, s.Usage)
			}
		}
	})
}
