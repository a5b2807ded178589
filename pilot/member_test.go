package pilot

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

func TestTally(t *testing.T) {
	t.Parallel()
	var sent tally
	for range 3 {
		sent.count(&wire.Ping{})
	}
	sent.count(&wire.ExchangeReply{})
	var got map[string]int
	if err := json.Unmarshal([]byte(sent.String()), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int{"ping": 3, "exchangereply": 1}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A peer is named once for a reason, however often it links and lies.
func TestMisbehaved(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := NewAgent(nil, slog.New(slog.NewTextHandler(&log, nil)))
	peer := func(b byte) wire.Peer { return wire.Peer{ID: wire.NodeID{b}} }
	for range 3 {
		a.misbehaved(core.Misbehaved{Peer: peer(1), Reason: "it floods"})
	}
	a.misbehaved(core.Misbehaved{Peer: peer(1), Reason: "it lies"})
	for i := range 255 {
		a.misbehaved(core.Misbehaved{Peer: peer(byte(i)), Reason: "it floods"})
	}
	if n := strings.Count(log.String(), "peer=01000000"); n != 2 {
		t.Errorf("one peer is named %d times for two reasons:\n%s", n, &log)
	}
	if len(a.blamed) > maxBlamed {
		t.Errorf("%d are remembered", len(a.blamed))
	}
}
