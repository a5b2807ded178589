package launcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/launcher"
)

func openLedger(t *testing.T, path string) *launcher.Ledger {
	t.Helper()
	l, err := launcher.OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := openLedger(t, path)
	if err := l.Begin(launcher.Begun{Run: "abcdefgh", PID: 7}); err != nil {
		t.Fatal(err)
	}
	things := []launcher.Made{
		{Site: "das", Kind: launcher.KindLogin, What: launcher.What{URLs: []string{"ssh://me@fs0"}, Hosts: []string{"n1"}}},
		{Site: "das", Kind: launcher.KindDir, What: launcher.What{Path: "/tmp/z"}},
		{Site: "das", Kind: launcher.KindBinary, What: launcher.What{Path: "/tmp/z/pilot", Keep: true}},
		{Site: "das", Host: "n1", Kind: launcher.KindPilot, What: launcher.What{Path: "/tmp/z/1"}},
		{Site: "here", Kind: launcher.KindLocalDir, Local: true, What: launcher.What{Path: "/tmp/y"}},
	}
	for i, m := range things {
		seq, err := l.Make(m)
		if err != nil || seq != i+1 {
			t.Fatalf("Make(%+v) = %d, %v; want %d", m, seq, err, i+1)
		}
	}
	// Before it is made it is written.
	if before, err := launcher.ReadLedger(path); err != nil || len(before.Open()) != len(things) {
		t.Fatalf("read back: %v, %v", before, err)
	}
	if err := l.Confirm(4, func(w *launcher.What) { w.PID, w.Start = 42, "t1" }); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(2, "removed"); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(2, "again"); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	if err := l.Remove(6, ""); err == nil {
		t.Error("an entry that does not exist was removed")
	}
	if err := l.Confirm(0, nil); err == nil {
		t.Error("an entry that does not exist was confirmed")
	}

	read, err := launcher.ReadLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l.All(), read.All(), cmpopts.EquateApproxTime(0)); d != "" {
		t.Errorf("as written and as read (-written +read):\n%s", d)
	}
	if b := read.Begun(); b.Run != "abcdefgh" || b.PID != 7 {
		t.Errorf("head: %+v", b)
	}
	var names []string
	for _, m := range read.Open() {
		if m.Leftover() {
			names = append(names, m.Name())
		}
	}
	want := []string{"pilot process 42 on n1", "localdir /tmp/y"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("leftovers (-want +got):\n%s", d)
	}
	if _, err := read.Make(launcher.Made{}); err == nil {
		t.Error("a ledger opened for reading was written to")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// A launcher that dies in the middle of a write leaves a ledger that can be
// read, and written to again.
func TestLedgerTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := openLedger(t, path)
	for _, p := range []string{"/a", "/b"} {
		if _, err := l.Make(launcher.Made{Kind: launcher.KindDir, What: launcher.What{Path: p}}); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for cut := first; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := launcher.ReadLedger(path)
		if err != nil || len(got.All()) != 1 {
			t.Fatalf("cut at %d: %v, %v", cut, got.All(), err)
		}
		l := openLedger(t, path)
		seq, err := l.Make(launcher.Made{Kind: launcher.KindDir, What: launcher.What{Path: "/c"}})
		if err != nil || seq != 2 {
			t.Fatalf("cut at %d: Make = %d, %v; want 2", cut, seq, err)
		}
		l.Close()
		got, err = launcher.ReadLedger(path)
		if err != nil || len(got.All()) != 2 || got.All()[1].What.Path != "/c" {
			t.Fatalf("cut at %d, then written to: %+v, %v", cut, got.All(), err)
		}
	}
}

func TestLedgerOfLaterVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	if err := os.WriteFile(path, []byte(`{"v":2,"op":"made"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := launcher.ReadLedger(path); err == nil || !strings.Contains(err.Error(), "line 1: version 2 is not known") {
		t.Errorf("got %v", err)
	}
}

// Nothing may be made when it cannot be written down.
func TestLedgerClosed(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "ledger.jsonl"))
	l.Close()
	if seq, err := l.Make(launcher.Made{Kind: launcher.KindDir}); err == nil {
		t.Errorf("Make after Close = %d", seq)
	}
}

func TestLedgerConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := openLedger(t, path)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				seq, err := l.Make(launcher.Made{Kind: launcher.KindDir, Local: true})
				if err != nil {
					t.Error(err)
					return
				}
				if err := l.Remove(seq, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := launcher.ReadLedger(path)
	if err != nil || len(got.All()) != 400 || len(got.Open()) != 0 {
		t.Errorf("%d made, %d open, %v; want 400 and 0", len(got.All()), len(got.Open()), err)
	}
}

func BenchmarkLedgerMake(b *testing.B) {
	for _, local := range []bool{true, false} {
		b.Run(map[bool]string{true: "local", false: "remote"}[local], func(b *testing.B) {
			l, err := launcher.OpenLedger(filepath.Join(b.TempDir(), "ledger.jsonl"))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			for b.Loop() {
				if _, err := l.Make(launcher.Made{Kind: launcher.KindDir, Local: local, What: launcher.What{Path: "/tmp/x"}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
