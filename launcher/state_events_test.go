package launcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

// The JSON form of events is part of the contract with scripts.
func TestEventJSON(t *testing.T) {
	three, nought := 3, 0
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("CET", 3600))
	const head = `{"v":1,"time":"2026-01-02T02:04:05.0000006Z","run":"abcdefgh","type":`
	for _, tt := range []struct {
		data launcher.EventData
		want string
	}{
		{launcher.RunStarted{App: "a.jar", Workers: 2, Min: 1, Out: "/o", Sites: []string{"x"}},
			`"run","app":"a.jar","workers":2,"min":1,"out":"/o","sites":["x"]}`},
		{launcher.SiteChanged{Site: "x", State: "up", Wanted: 2, Submitted: 2, Up: 1, Slots: 4},
			`"site","site":"x","state":"up","wanted":2,"submitted":2,"up":1,"slots":4}`},
		{launcher.PilotChanged{Site: "x", Node: "n", Name: "h", Role: "hub", State: "up"},
			`"pilot","site":"x","node":"n","name":"h","role":"hub","state":"up"}`},
		{launcher.WorkerChanged{Rank: 0, Attempt: 1, Site: "x", Node: "n", State: "done", Exit: &nought},
			`"worker","rank":0,"attempt":1,"site":"x","node":"n","state":"done","exit":0}`},
		{launcher.WorkerChanged{Rank: 7, Attempt: 2, State: "done", Exit: &three, Signal: "SIGKILL"},
			`"worker","rank":7,"attempt":2,"state":"done","exit":3,"signal":"SIGKILL"}`},
		{launcher.OutputWritten{Rank: 1, Stream: "stdout", Data: []byte("a <b> & ü\n")},
			`"output","rank":1,"stream":"stdout","data":"a <b> & ü\n"}`},
		{launcher.OutputWritten{Rank: 1, Stream: "stderr", Data: []byte{0xff, 0x00}},
			`"output","rank":1,"stream":"stderr","base64":"/wA="}`},
		{launcher.Transferred{Site: "x", Up: 1, Down: 2}, `"transfer","site":"x","up":1,"down":2}`},
		{launcher.Warned{Text: "careful"}, `"warning","text":"careful"}`},
		{launcher.RunEnded{Outcome: launcher.OutcomeApp, Exit: 3, Wall: 1.5}, `"end","outcome":"app","exit":3,"wall_s":1.5}`},
	} {
		e := launcher.Event{Time: at, Run: "abcdefgh", Data: tt.data}
		line, err := launcher.EncodeEvent(e)
		if err != nil || string(line) != head+tt.want+"\n" {
			t.Errorf("encode %+v: %v\n got %s\nwant %s", tt.data, err, line, head+tt.want)
			continue
		}
		got, err := launcher.DecodeEvent(line)
		if err != nil {
			t.Errorf("decode %s: %v", line, err)
		}
		e.Time = e.Time.UTC()
		if d := cmp.Diff(e, got); d != "" {
			t.Errorf("there and back (-want +got):\n%s", d)
		}
	}
	for _, bad := range []string{"", "x", "{}", `{"v":2,"type":"run"}`, `{"v":1,"type":"unheard"}`, `{"v":1,"type":"end","exit":"x"}`} {
		if e, err := launcher.DecodeEvent([]byte(bad)); err == nil {
			t.Errorf("decode %q = %+v, want an error", bad, e)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"v":1,"time":"2026-01-02T02:04:05Z","run":"r","type":"output","rank":1,"stream":"stdout","base64":"/wA="}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := launcher.DecodeEvent(line)
		if err != nil {
			return
		}
		if _, err := launcher.EncodeEvent(e); err != nil && e.Time.Year() >= 0 && e.Time.Year() < 10000 {
			t.Errorf("%+v was decoded but cannot be encoded: %v", e, err)
		}
	})
}

// Output is not kept in the journal, and bytes moved only now and then.
func TestJournalFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j, err := launcher.OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	for i := range 100 {
		for _, d := range []launcher.EventData{
			launcher.OutputWritten{Stream: "stdout", Data: []byte("x")},
			launcher.Transferred{Site: "a", Up: int64(i)},
		} {
			if err := j.Write(launcher.Event{Time: at.Add(time.Duration(i) * time.Second), Run: "r", Data: d}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := j.Status().Sites[0].Sent; got != 99 {
		t.Errorf("bytes sent %d, want 99: every event counts", got)
	}
	j.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), `"transfer"`); n != 10 || strings.Contains(string(data), `"output"`) {
		t.Errorf("%d transfer events in 100 s, want 10, and no output:\n%s", n, data)
	}
	if err := j.Write(launcher.Event{Time: at, Data: launcher.Warned{}}); err == nil {
		t.Error("a closed journal was written to")
	}
}
