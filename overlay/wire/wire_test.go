package wire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/golden.txt")

const golden = "testdata/golden.txt"

// addresses are compared as they are.
var addresses = cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})

func id(b byte) (id wire.NodeID) {
	for i := range id {
		id[i] = b
	}
	return id
}

var (
	jobID  = wire.JobID{0xaa, 0xbb, 15: 0xcc}
	digest = wire.Digest{1, 2, 3, 31: 0xff}
	peer   = wire.Peer{ID: id(7), Role: wire.RolePilot, Site: "das5", Name: "node001",
		Offer: wire.Offer{Slots: 16, Cores: 32, Memory: 64 << 30, Disk: 1 << 40, GPUs: 2}, Platform: "linux/amd64", Path: wire.PathSSH, RTT: 1500, Job: "4711_3", Part: 5}
	advert = wire.Advert{Job: jobID, Epoch: 1, Seq: 3, Primary: id(1), Order: 9, Open: 40,
		Needs: wire.Requirements{Cores: 2, Memory: 4 << 30, Disk: 1 << 30, GPUs: 1, Platforms: []string{"linux/amd64", "linux/arm64"}, Runtime: "jvm", Walltime: 2 * time.Hour},
		Lease: 10 * time.Minute, Hubs: []wire.NodeID{id(2)}, To: []wire.Ask{{Node: id(4), Workers: 12}, {Node: id(5)}}, Hops: 3}
	program = wire.Program{Argv: []string{"app.jar", "-x", "é"}, Env: []string{"A=b", "C="}, Runtime: "jvm", Java: 17, JVM: []string{"-Xss1m"},
		Root: digest, Holders: []wire.NodeID{id(2), id(1)}, Stdin: "in/data", Outputs: []string{"*.csv"}, Memory: 1 << 30, KillGrace: 5 * time.Second, GPUs: 2}
	exited = wire.Result{Exit: wire.Exit{Reason: wire.ExitProgram, Code: 3, Text: "exit status 3"}, Root: digest, Stdout: 10, Stderr: 1 << 40, Warnings: []string{"*.csv matches nothing"}}
)

var (
	card = wire.Card{ID: id(7), Role: wire.RolePilot, Site: "das5", Hubs: []wire.NodeID{id(2), id(3)}, Offer: peer.Offer, Free: 5,
		Coordinate: []byte{1, 2, 3}, Seq: 12, Proof: []byte{4, 5}, Signature: bytes.Repeat([]byte{9}, wire.SignatureSize)}
	hint    = wire.Hint{ID: id(6), At: &wire.Locality{Site: "das4", Hubs: []wire.NodeID{id(5)}}, Coordinate: coordinate, Age: time.Minute, RTT: 30 * time.Millisecond}
	place   = &wire.Locality{Site: "das5", Hubs: []wire.NodeID{id(2), id(3)}}
	hubCard = wire.Card{ID: id(2), Role: wire.RoleHub, Seq: 1, Signature: bytes.Repeat([]byte{8}, wire.SignatureSize)}
)

var table = wire.Table{Hub: id(4), Site: "das5", Seq: 9, Pilots: 40, Coordinate: &coordinate,
	Classes: []wire.Class{{Offer: peer.Offer, Platform: "linux/amd64", Pilots: 3, Slots: 20, Left: 3 * time.Hour}}}

// flooded is the advert as everybody gets it.
var flooded = func() wire.Advert {
	ad := advert
	ad.To, ad.Hops = nil, 0
	return ad
}()

// samples holds every message with every field set.
var samples = []wire.Message{
	&wire.Hello{Version: 1, Offer: peer.Offer, Platform: "linux/amd64", Name: "node001", Hubs: []wire.NodeID{id(2), id(3)}, Job: "4711_3", Part: 5},
	&wire.Welcome{Peers: []wire.Peer{peer}, Down: []wire.NodeID{id(9)}, Adverts: []*wire.Advert{&flooded}, Quiet: time.Second, Place: &coordinate},
	&wire.PeersChanged{Up: []wire.Peer{peer}, Down: []wire.NodeID{id(9)}, Why: []string{"walltime"}},
	&wire.Ping{Seq: 5, Quiet: 2 * time.Second},
	&wire.Pong{Seq: 5},
	&wire.Leave{Reason: "wall time"},
	&wire.Tokens{Tokens: []wire.Token{{Name: "t1", Secret: bytes.Repeat([]byte{5}, 32), Role: wire.RolePilot, Joins: 3, TTL: time.Hour}}},
	&wire.Retire{Reason: "done"},
	&advert,
	&wire.Claim{Job: jobID, Epoch: 1, Seq: 4, Workers: 8, TTL: 5 * time.Second, Hubs: []wire.NodeID{id(4), id(5)}},
	&wire.Hold{Job: jobID, Epoch: 1, Seq: 4, Workers: 8, TTL: time.Minute},
	&wire.Grant{Job: jobID, Epoch: 1, Seq: 4, Lease: time.Minute, Size: 40, Workers: []wire.Attempt{{Rank: 0, Attempt: 1}, {Rank: 7, Attempt: 2}}, Program: program},
	&wire.Refuse{Job: jobID, Epoch: 1, Seq: 4, Shun: time.Minute},
	&wire.Release{Job: jobID, Epoch: 1, Seq: 4, Reason: "an older job", All: true, Ask: true},
	&wire.Report{Job: jobID, Epoch: 1, Seq: 6, Workers: []wire.Status{
		{Attempt: wire.Attempt{Rank: 0, Attempt: 1}, State: wire.WorkerRunning, PID: 4711},
		{Attempt: wire.Attempt{Rank: 7, Attempt: 2}, State: wire.WorkerExited, Result: &exited}}},
	&wire.Ack{Job: jobID, Epoch: 1, Of: wire.KindRenew, Seq: 6, Before: 4},
	&wire.Stop{Job: jobID, Epoch: 1, Workers: []wire.Attempt{{Rank: 7, Attempt: 2}}, Keep: true, Now: true, Reason: "superseded"},
	&wire.Closed{Job: jobID, Epoch: 1, Ack: true},
	&wire.Renew{Job: jobID, Epoch: 1, Seq: 2, Lease: time.Minute},
	&wire.Open{Dst: id(3), Src: id(4), Stream: wire.StreamFetch, Hops: 8, Hubs: []wire.NodeID{id(5), id(6)}, Route: []wire.NodeID{id(7), id(5)},
		Flow: bytes.Repeat([]byte{7}, wire.FlowSize), Ticket: bytes.Repeat([]byte{8}, wire.TicketSize), Call: true},
	&wire.Accepted{Error: "no route"},
	&wire.Lane{},
	&wire.Stripe{Flow: bytes.Repeat([]byte{7}, wire.FlowSize), Number: 2},
	&wire.Reach{Secret: bytes.Repeat([]byte{6}, wire.ReachSecret), Port: 5000, Listens: true, Local: []netip.Prefix{netip.MustParsePrefix("10.141.0.7/16"), netip.MustParsePrefix("2001:db8::7/64")},
		Observed: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6000"), netip.MustParseAddrPort("[2001:db8::7]:5000")}},
	&wire.Punch{Go: true, Bound: 5 * time.Second},
	&wire.Observed{Endpoint: netip.MustParseAddrPort("192.0.2.1:6000")},
	&wire.Listen{Toward: "node001"},
	&wire.Listening{Address: "10.141.0.1:40000", Error: "forbidden"},
	&wire.Dial{Address: "inner3:22"},
	&wire.GrowOrder{Seq: 3, Submit: "qsub -t 1-$1 x", Status: "qstat", Cancel: `qdel "$@"`, Pilots: 16, Most: 48, Every: time.Minute, Away: 30 * time.Second, TTL: time.Hour, Jobs: []string{"17.2", "4711_[3];das5"}},
	&wire.Grown{Seq: 3, Jobs: []wire.GrowJob{{ID: "17.2", State: wire.GrowDone}, {ID: "18.1", State: wire.GrowQueued, Ours: true, Cancelled: true}}, Submitted: 1, Cancelled: 1, Commands: 7, Error: "exit status 1"},
	&wire.Join{Token: "t1", Proof: bytes.Repeat([]byte{6}, 32), CSR: []byte{1}, HubCSR: []byte{2}},
	&wire.Admitted{Error: "late", Chain: [][]byte{{1}, {2}}, Hub: []byte{3}, Time: 1234567890, Proof: []byte{4}, Warrant: []byte{5}},
	&wire.Want{Job: jobID, Digests: []wire.Digest{digest}},
	&wire.BlobHeader{Digest: digest, Size: 1 << 20},
	&wire.Missing{Digest: digest, Reason: "not here"},
	&wire.Output{Job: jobID, Rank: 7, Attempt: 2, FD: 1},
	&wire.Resume{Offset: 77, Refused: true},
	&wire.Received{Offset: 77},
	&wire.Exchange{Seq: 8, Entries: []wire.Entry{{Card: &card, Age: 7 * time.Second}}},
	&wire.ExchangeReply{Seq: 8, Entries: []wire.Entry{{Card: &card}, {Card: &hubCard, Age: time.Millisecond}}},
	&wire.Datagram{Src: id(7), SrcHubs: []wire.NodeID{id(2), id(3)}, Dst: id(8), Hubs: []wire.NodeID{id(4)}, Route: []wire.NodeID{id(3), id(4)}, Hops: 8,
		Body: wire.BodyOf(&wire.Placed{Seq: 9, At: place, Coordinate: coordinate})},
	&wire.Probe{Seq: 1 << 60, At: place, Coordinate: coordinate, Hints: []wire.Hint{hint}},
	&wire.ProbeReply{Seq: 1 << 60, Again: 3, At: place, Coordinate: coordinate, Hints: []wire.Hint{hint}},
	&wire.Placed{Seq: 3, At: place, Coordinate: coordinate},
	&wire.Free{Seq: 4, Slots: 7, Left: time.Hour},
	&wire.Tables{Rows: []wire.Row{{Table: &table, Age: time.Second}}},
	&wire.Find{Seq: 6, Needs: advert.Needs, Workers: 64},
	&wire.Found{Seq: 6, Rows: []wire.Row{{Table: &table, Age: time.Second}, {Table: &wire.Table{Hub: id(5), Seq: 1}}}, More: true},
	&wire.LinkStates{States: []*wire.LinkState{{Origin: id(2), Role: wire.RoleHub, Site: "das5", Seq: 12, Links: []wire.HubLink{{ID: id(3), RTT: 12345}, {ID: id(4)}},
		Proof: []byte{4, 5}, Signature: bytes.Repeat([]byte{9}, wire.SignatureSize)}}},
	&wire.LinksHeld{Held: []wire.Held{{Origin: id(2), Seq: 12}}, More: true},
	&wire.Advice{Hubs: []wire.HubHint{{ID: id(3), Site: "das4", RTT: 12 * time.Millisecond, Cuts: []wire.NodeID{id(2)}}}, Deputies: []wire.NodeID{id(7), id(8)}},
	&wire.Serve{Hub: id(2), Term: 3, Answer: true, Serves: true},
	&wire.Beat{Incarnation: 4, Ask: 7, Answer: 6, Suspected: 4, Dead: true, Health: 2},
	&wire.Inquiry{Seq: 9, Subjects: []wire.Subject{{ID: id(7), Incarnation: 3}}},
	&wire.Finding{Seq: 9, Alive: []wire.Subject{{ID: id(7), Incarnation: 4}}, Silent: []wire.NodeID{id(8)}, NoWay: []wire.NodeID{id(9)}, Health: 1},
	&wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 5, Suspects: []wire.Subject{{ID: id(7), Incarnation: 3}}, Clears: []wire.Subject{{ID: id(8), Incarnation: 2}},
		Accuses: []wire.NodeID{id(4)}, Recants: []wire.NodeID{id(5)}, Dead: []wire.NodeID{id(9)}, By: []wire.NodeID{id(2), id(3)}, Reason: "its link ended"}},
		Held: []wire.Held{{Origin: id(3), Seq: 6}}},
}

var manifest = wire.Manifest{Files: []wire.File{
	{Path: "app.jar", Mode: 0o644, Size: 5, Chunks: []wire.Chunk{{Digest: digest, Size: 5}}},
	{Path: "lib", Mode: wire.ModeDir | 0o755},
	{Path: "lib/link", Mode: wire.ModeLink | 0o777, Link: "../app.jar"},
}}

// encodings returns the bytes of every sample, by name.
func encodings() (names []string, all map[string][]byte) {
	all = make(map[string][]byte)
	for _, m := range samples {
		name := strings.TrimPrefix(fmt.Sprintf("%T", m), "*wire.")
		names = append(names, name)
		all[name] = wire.Encode(m)
	}
	return append(names, "Manifest"), withManifest(all)
}

func withManifest(all map[string][]byte) map[string][]byte {
	all["Manifest"] = wire.EncodeManifest(&manifest)
	return all
}

func TestGolden(t *testing.T) {
	names, all := encodings()
	if *rewrite {
		var out strings.Builder
		for _, name := range names {
			fmt.Fprintf(&out, "%s %x\n", name, all[name])
		}
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, want, _ := strings.Cut(lines.Text(), " ")
		if got := hex.EncodeToString(all[name]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		seen++
	}
	if err := lines.Err(); err != nil || seen != len(names) {
		t.Errorf("%d golden lines for %d messages: %v", seen, len(names), err)
	}
}

// TestEveryKind holds that the samples, and so the golden bytes, leave out no kind.
func TestEveryKind(t *testing.T) {
	have := make(map[wire.Kind]bool)
	for _, m := range samples {
		have[m.Kind()] = true
	}
	for k := range 256 {
		_, err := wire.Decode([]byte{byte(k), 0xa0})
		known := err == nil || !strings.Contains(err.Error(), "unknown kind")
		if known != have[wire.Kind(k)] {
			t.Errorf("kind %#x: known %v, sample %v", k, known, have[wire.Kind(k)])
		}
	}
}

func TestKindNames(t *testing.T) {
	for kind, want := range map[wire.Kind]string{wire.KindClaim: "claim", wire.KindExchangeReply: "exchangereply", 0xff: "kind255"} {
		if got := kind.String(); got != want {
			t.Errorf("kind %d is called %q, want %q", uint8(kind), got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	var stream bytes.Buffer
	for _, m := range samples {
		got, err := wire.Decode(wire.Encode(m))
		if err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if d := cmp.Diff(m, got, addresses); d != "" {
			t.Errorf("%T (-want +got):\n%s", m, d)
		}
		if err := wire.WriteFrame(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range samples {
		got, err := wire.ReadFrame(&stream, 0)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if d := cmp.Diff(m, got, addresses); d != "" {
			t.Errorf("frame of %T (-want +got):\n%s", m, d)
		}
	}
	if _, err := wire.ReadFrame(&stream, 0); err != io.EOF {
		t.Errorf("at the end: %v, want EOF", err)
	}
	got, err := wire.DecodeManifest(wire.EncodeManifest(&manifest))
	if d := cmp.Diff(&manifest, got); err != nil || d != "" {
		t.Errorf("manifest: %v\n%s", err, d)
	}
}

// TestLargest holds that what passes Validate fits into a frame.
func TestLargest(t *testing.T) {
	long := strings.Repeat("n", wire.MaxName)
	p := wire.Peer{ID: id(255), Role: wire.RolePilot, Site: long, Name: long, Platform: long, Job: long,
		Offer: wire.Offer{Slots: wire.MaxSlots, Cores: wire.MaxCores, Memory: wire.MaxBytes, Disk: wire.MaxBytes, GPUs: wire.MaxCores}}
	ad := &wire.Advert{Job: jobID, Epoch: 1 << 31, Seq: 1 << 63, Primary: id(255), Order: 1 << 63, Open: wire.MaxRanks, Lease: wire.MaxTime,
		Needs: wire.Requirements{Cores: wire.MaxCores, Memory: wire.MaxBytes, Disk: wire.MaxBytes, GPUs: wire.MaxCores,
			Platforms: repeat(long, wire.MaxPlatform), Runtime: strings.Repeat("r", 64), Walltime: wire.MaxTime}}
	var attempts []wire.Attempt
	for i := range wire.MaxSlots {
		attempts = append(attempts, wire.Attempt{Rank: uint32(wire.MaxRanks - wire.MaxSlots + i), Attempt: 1 << 31})
	}
	var status []wire.Status
	for _, a := range attempts[:wire.MaxWorkers] {
		status = append(status, wire.Status{Attempt: a, State: wire.WorkerExited, Result: &wire.Result{
			Exit: wire.Exit{Reason: wire.ExitLost, Code: -1 << 31, Signal: 64, Text: strings.Repeat("t", wire.MaxReason)}, Root: digest, Stdout: 1 << 62, Stderr: 1 << 62,
			Warnings: repeat(strings.Repeat("w", wire.MaxWarned/wire.MaxWarnings), wire.MaxWarnings)}})
	}
	args := repeat("", wire.MaxArgs)
	args[0] = strings.Repeat("a", wire.MaxProgram-wire.MaxArgs*3)
	if len(args[0]) > wire.MaxText {
		args[1] = args[0][wire.MaxText:]
		args[0] = args[0][:wire.MaxText]
	}
	asking := *ad
	asking.Hubs, asking.To, asking.Hops = repeat(id(2), 1), repeat(wire.Ask{Node: id(255), Workers: wire.MaxRanks}, wire.MaxAsks), wire.MaxHops
	rows := repeat(wire.Row{Age: wire.MaxTime, Table: &wire.Table{Hub: id(255), Site: long, Seq: 1 << 63, Pilots: wire.MaxCounted, Coordinate: &coordinate,
		Classes: repeat(wire.Class{Offer: p.Offer, Platform: long, Pilots: wire.MaxCounted, Slots: wire.MaxCounted * wire.MaxSlots, Left: wire.MaxTime}, wire.MaxClasses)}}, wire.MaxRows)
	for _, m := range []wire.Message{
		&wire.Welcome{Peers: repeat(p, wire.MaxPeers), Down: repeat(id(255), wire.MaxPeers), Adverts: repeat(ad, wire.MaxAdverts), Quiet: wire.MaxTime},
		&wire.PeersChanged{Up: repeat(p, wire.MaxPeers), Down: repeat(id(255), wire.MaxPeers), Why: repeat(strings.Repeat("w", wire.MaxWhy), wire.MaxPeers)},
		&wire.Tokens{Tokens: repeat(wire.Token{Name: strings.Repeat("t", 64), Secret: make([]byte, 64), Role: wire.RoleHub, Joins: 1 << 31, TTL: wire.MaxTime}, wire.MaxTokens)},
		&wire.Grant{Job: jobID, Epoch: 1 << 31, Seq: 1 << 63, Lease: wire.MaxTime, Size: wire.MaxRanks, Workers: attempts, Program: wire.Program{
			Argv: args, Env: repeat("A=", wire.MaxArgs), JVM: repeat("", wire.MaxArgs), Outputs: repeat("", wire.MaxOutputs), Holders: repeat(id(255), wire.MaxHolders),
			Stdin: strings.Repeat("s", wire.MaxPath), Runtime: strings.Repeat("r", 64)}},
		&wire.Report{Job: jobID, Epoch: 1 << 31, Seq: 1 << 63, Workers: status},
		&wire.Stop{Job: jobID, Workers: attempts, Reason: strings.Repeat("t", wire.MaxReason)},
		&wire.Want{Job: jobID, Digests: repeat(digest, 1024)},
		&asking,
		&wire.GrowOrder{Seq: 1 << 63, Submit: strings.Repeat("x", wire.MaxGrowText), Status: strings.Repeat("x", wire.MaxGrowText), Cancel: strings.Repeat("x", wire.MaxGrowText),
			Pilots: wire.MaxCounted, Most: wire.MaxCounted, Every: wire.MaxTime, Away: wire.MaxTime, TTL: wire.MaxTime, Jobs: repeat(long, wire.MaxGrowJobs)},
		&wire.Grown{Seq: 1 << 63, Jobs: repeat(wire.GrowJob{ID: long, State: wire.GrowDone, Ours: true, Cancelled: true}, wire.MaxGrowJobs), Error: strings.Repeat("x", wire.MaxReason)},
		&wire.Found{Seq: 1 << 63, More: true, Rows: rows},
	} {
		if err := m.Validate(); err != nil {
			t.Errorf("%T is meant to be valid: %v", m, err)
			continue
		}
		b := wire.Encode(m) // panics when it is too large
		if _, err := wire.Decode(b); err != nil {
			t.Errorf("%T of %d bytes: %v", m, len(b), err)
		}
	}
}

func repeat[T any](v T, n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestRefused(t *testing.T) {
	grant := func(f func(*wire.Grant)) *wire.Grant {
		g := &wire.Grant{Job: jobID, Size: 2, Workers: []wire.Attempt{{Rank: 0, Attempt: 1}}, Program: wire.Program{Argv: []string{"x"}}}
		f(g)
		return g
	}
	status := func(s wire.Status) *wire.Report { return &wire.Report{Workers: []wire.Status{s}} }
	reach := func(f func(*wire.Reach)) *wire.Reach {
		m := &wire.Reach{Secret: make([]byte, wire.ReachSecret), Port: 5000, Local: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")},
			Observed: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6000")}}
		if err := m.Validate(); err != nil {
			t.Errorf("%T is meant to be valid: %v", m, err)
		}
		f(m)
		return m
	}
	for name, m := range map[string]wire.Message{
		"offer of too many slots":   &wire.Hello{Offer: wire.Offer{Slots: wire.MaxSlots + 1}},
		"negative memory":           &wire.Hello{Offer: wire.Offer{Memory: -1}},
		"name that is not UTF-8":    &wire.Hello{Name: "\xff"},
		"peer without identity":     &wire.PeersChanged{Up: []wire.Peer{{Role: wire.RoleHub}}},
		"peer without role":         &wire.PeersChanged{Up: []wire.Peer{{ID: id(1)}}},
		"too many peers down":       &wire.PeersChanged{Down: make([]wire.NodeID, wire.MaxPeers+1)},
		"no advert":                 &wire.Welcome{Adverts: []*wire.Advert{nil}},
		"negative time":             &wire.Ping{Quiet: -1},
		"endless time":              &wire.Ping{Quiet: wire.MaxTime + 1},
		"long reason":               &wire.Leave{Reason: strings.Repeat("x", wire.MaxReason+1)},
		"token for a launcher":      &wire.Tokens{Tokens: []wire.Token{{Name: "x", Secret: make([]byte, 32), Role: wire.RoleLauncher}}},
		"short secret":              &wire.Tokens{Tokens: []wire.Token{{Name: "x", Secret: make([]byte, 15), Role: wire.RoleHub}}},
		"asking of nobody":          &wire.Advert{Primary: id(1), To: make([]wire.Ask, 1)},
		"asking too many":           &wire.Advert{Primary: id(1), To: repeat(wire.Ask{Node: id(2)}, wire.MaxAsks+1)},
		"asking in a welcome":       &wire.Welcome{Adverts: []*wire.Advert{&advert}},
		"too many free slots":       &wire.Free{Slots: wire.MaxSlots + 1},
		"no table":                  &wire.Tables{Rows: make([]wire.Row, 1)},
		"too many tables":           &wire.Tables{Rows: repeat(wire.Row{Table: &table}, wire.MaxRows+1)},
		"table of nobody":           &wire.Tables{Rows: []wire.Row{{Table: &wire.Table{Seq: 1}}}},
		"more free than slots":      &wire.Found{Rows: []wire.Row{{Table: &wire.Table{Hub: id(1), Seq: 1, Pilots: 1, Classes: []wire.Class{{Offer: wire.Offer{Slots: 1}, Pilots: 1, Slots: 2}}}}}},
		"searching for nothing":     &wire.Find{},
		"advert without primary":    &wire.Advert{},
		"claim for nothing":         &wire.Claim{},
		"hold of nothing":           &wire.Hold{},
		"grant of nothing":          grant(func(g *wire.Grant) { g.Workers = nil }),
		"attempt zero":              grant(func(g *wire.Grant) { g.Workers[0].Attempt = 0 }),
		"rank too high":             grant(func(g *wire.Grant) { g.Workers[0].Rank = wire.MaxRanks }),
		"ranks not in order":        grant(func(g *wire.Grant) { g.Workers = []wire.Attempt{{Rank: 1, Attempt: 1}, {Rank: 0, Attempt: 1}} }),
		"no program":                grant(func(g *wire.Grant) { g.Program.Argv = nil }),
		"NUL in an argument":        grant(func(g *wire.Grant) { g.Program.Argv = []string{"x", "a\x00b"} }),
		"environment without name":  grant(func(g *wire.Grant) { g.Program.Env = []string{"=x"} }),
		"environment without value": grant(func(g *wire.Grant) { g.Program.Env = []string{"x"} }),
		"input outside":             grant(func(g *wire.Grant) { g.Program.Stdin = "../x" }),
		"too much text":             grant(func(g *wire.Grant) { g.Program.Argv = repeat(strings.Repeat("x", 1<<16), 3) }),
		"negative grace":            grant(func(g *wire.Grant) { g.Program.KillGrace = -1 }),
		"exited without result":     status(wire.Status{Attempt: wire.Attempt{Attempt: 1}, State: wire.WorkerExited}),
		"running with result":       status(wire.Status{Attempt: wire.Attempt{Attempt: 1}, State: wire.WorkerRunning, Result: &exited}),
		"unknown state":             status(wire.Status{Attempt: wire.Attempt{Attempt: 1}, State: 9}),
		"unknown exit":              status(wire.Status{Attempt: wire.Attempt{Attempt: 1}, State: wire.WorkerExited, Result: &wire.Result{}}),
		"too many statuses":         &wire.Report{Workers: make([]wire.Status, wire.MaxWorkers+1)},
		"stop of nothing":           &wire.Stop{},
		"acknowledged claim":        &wire.Ack{Of: wire.KindClaim},
		"long warnings":             status(wire.Status{Attempt: wire.Attempt{Attempt: 1}, State: wire.WorkerExited, Result: &wire.Result{Exit: exited.Exit, Warnings: repeat(strings.Repeat("w", 1000), 3)}}),
		"too many hops":             &wire.Open{Stream: wire.StreamLink, Hops: wire.MaxHops + 1},
		"unknown stream":            &wire.Open{Stream: 99},
		"short ticket":              &wire.Open{Stream: wire.StreamStripe, Ticket: make([]byte, 31)},
		"call without a ticket":     &wire.Open{Stream: wire.StreamStripe, Call: true},
		"long name of a flow":       &wire.Open{Stream: wire.StreamFetch, Flow: make([]byte, 17)},
		"stripe of no flow":         &wire.Stripe{Number: 1},
		"stripe zero":               &wire.Stripe{Flow: make([]byte, wire.FlowSize)},
		"ninth stripe":              &wire.Stripe{Flow: make([]byte, wire.FlowSize), Number: 9},
		"hub of nobody":             &wire.Open{Stream: wire.StreamLink, Hubs: make([]wire.NodeID, 1)},
		"three hubs":                &wire.Open{Stream: wire.StreamLink, Hubs: []wire.NodeID{id(1), id(2), id(3)}},
		"route over nobody":         &wire.Open{Stream: wire.StreamLink, Hops: 8, Route: make([]wire.NodeID, 1)},
		"route over a hub twice":    &wire.Open{Stream: wire.StreamLink, Hops: 8, Route: []wire.NodeID{id(1), id(2), id(1)}},
		"route over its end":        &wire.Open{Stream: wire.StreamLink, Hops: 8, Dst: id(2), Route: []wire.NodeID{id(1), id(2)}},
		"route over its start":      &wire.Open{Stream: wire.StreamLink, Hops: 8, Src: id(1), Route: []wire.NodeID{id(1), id(2)}},
		"route too long":            &wire.Open{Stream: wire.StreamLink, Hops: 1, Route: []wire.NodeID{id(1), id(2)}},
		"reach without secret":      reach(func(m *wire.Reach) { m.Secret = nil }),
		"reach without port":        reach(func(m *wire.Reach) { m.Port = 0 }),
		"too many candidates":       reach(func(m *wire.Reach) { m.Observed = repeat(m.Observed[0], wire.MaxCandidates) }),
		"candidate with a zone":     reach(func(m *wire.Reach) { m.Observed[0] = netip.MustParseAddrPort("[fe80::1%eth0]:6000") }),
		"candidate in disguise":     reach(func(m *wire.Reach) { m.Observed[0] = netip.MustParseAddrPort("[::ffff:127.0.0.1]:6000") }),
		"candidate without port":    reach(func(m *wire.Reach) { m.Observed[0] = netip.MustParseAddrPort("192.0.2.1:0") }),
		"no network":                reach(func(m *wire.Reach) { m.Local = make([]netip.Prefix, 1) }),
		"endless attempt":           &wire.Punch{Bound: wire.MaxPunch + 1},
		"observed as nothing":       &wire.Observed{},
		"listening nowhere":         &wire.Listen{},
		"listening in two places":   &wire.Listen{Host: "10.141.0.1", Toward: "node001"},
		"long name of a job":        &wire.Hello{Job: strings.Repeat("j", wire.MaxName+1)},
		"job that is not UTF-8":     &wire.PeersChanged{Up: []wire.Peer{{ID: id(1), Role: wire.RolePilot, Job: "\xff"}}},
		"part of a job too high":    &wire.Hello{Part: wire.MaxPart + 1},
		"peer's part too high":      &wire.PeersChanged{Up: []wire.Peer{{ID: id(1), Role: wire.RolePilot, Part: wire.MaxPart + 1}}},
		"negative time left":        &wire.Free{Left: -1},
		"too few reasons":           &wire.PeersChanged{Down: []wire.NodeID{id(1), id(2)}, Why: []string{"x"}},
		"long reason of many":       &wire.PeersChanged{Down: []wire.NodeID{id(1)}, Why: []string{strings.Repeat("x", wire.MaxWhy+1)}},
		"class that was":            &wire.Found{Rows: []wire.Row{{Table: &wire.Table{Hub: id(1), Seq: 1, Pilots: 1, Classes: []wire.Class{{Offer: wire.Offer{Slots: 1}, Pilots: 1, Slots: 1, Left: -1}}}}}},
		"too many GPUs":             grant(func(g *wire.Grant) { g.Program.GPUs = wire.MaxCores + 1 }),
		"negative wall time":        &wire.Advert{Primary: id(1), Needs: wire.Requirements{Walltime: -1}},
		"grow order without text":   &wire.GrowOrder{Seq: 1, Every: time.Minute, Submit: "x", Status: "x"},
		"grow order in a hurry":     &wire.GrowOrder{Seq: 1, Submit: "x", Status: "x", Cancel: "x"},
		"NUL in a grow order":       &wire.GrowOrder{Submit: "x\x00"},
		"long text to grow by":      &wire.GrowOrder{Submit: strings.Repeat("x", wire.MaxGrowText+1)},
		"job that is an option":     &wire.GrowOrder{Jobs: []string{"-1"}},
		"job that is two":           &wire.GrowOrder{Jobs: []string{"1 2"}},
		"job of a shell":            &wire.GrowOrder{Jobs: []string{"$(x)"}},
		"too many jobs to grow by":  &wire.GrowOrder{Jobs: repeat("1", wire.MaxGrowJobs+1)},
		"endless grow order":        &wire.GrowOrder{TTL: wire.MaxTime + 1},
		"too many pilots to want":   &wire.GrowOrder{Pilots: wire.MaxCounted + 1},
		"too many jobs grown":       &wire.Grown{Jobs: repeat(wire.GrowJob{ID: "1"}, wire.MaxGrowJobs+1)},
		"grown job without name":    &wire.Grown{Jobs: make([]wire.GrowJob, 1)},
		"grown job in no state":     &wire.Grown{Jobs: []wire.GrowJob{{ID: "1", State: 5}}},
		"output of input":           &wire.Output{},
		"want of nothing":           &wire.Want{},
	} {
		if err := m.Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func TestRefusedManifest(t *testing.T) {
	for name, f := range map[string][]wire.File{
		"absolute path":       {{Path: "/x", Mode: 0o644}},
		"path that climbs":    {{Path: "a/../../x", Mode: 0o644}},
		"path twice":          {{Path: "a", Mode: 0o644}, {Path: "a", Mode: 0o644}},
		"link outside":        {{Path: "a", Mode: wire.ModeLink, Link: "../x"}},
		"absolute link":       {{Path: "a", Mode: wire.ModeLink, Link: "/etc/passwd"}},
		"setuid":              {{Path: "a", Mode: 0o4755}},
		"chunks too short":    {{Path: "a", Mode: 0o644, Size: 9, Chunks: []wire.Chunk{{Size: 5}}}},
		"chunk too large":     {{Path: "a", Mode: 0o644, Size: wire.MaxChunk + 1, Chunks: []wire.Chunk{{Size: wire.MaxChunk + 1}}}},
		"directory with size": {{Path: "a", Mode: wire.ModeDir, Size: 1}},
	} {
		m := &wire.Manifest{Files: f}
		if err := m.Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func TestReadFrame(t *testing.T) {
	whole := new(bytes.Buffer)
	if err := wire.WriteFrame(whole, &wire.Ping{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":        {nil, io.EOF},
		"half a length":  {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"half a message": {whole.Bytes()[:whole.Len()-1], io.ErrUnexpectedEOF},
		"only a length":  {whole.Bytes()[:4], io.ErrUnexpectedEOF},
		"empty message":  {[]byte{0, 0, 0, 0}, wire.ErrInvalid},
		"giant message":  {[]byte{0xff, 0xff, 0xff, 0xff, 1}, wire.ErrInvalid},
		"unknown kind":   {[]byte{0, 0, 0, 1, 0xee}, wire.ErrInvalid},
	} {
		if m, err := wire.ReadFrame(bytes.NewReader(tt.in), 0); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, m, err, tt.want)
		}
	}
	if _, err := wire.ReadFrame(bytes.NewReader(whole.Bytes()), 3); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("a frame over the caller's limit: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	kept(f)
	for _, m := range samples {
		f.Add(wire.Encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Decode(b)
		if err != nil {
			if !errors.Is(err, wire.ErrInvalid) {
				t.Fatalf("error %v does not match ErrInvalid", err)
			}
			return
		}
		again := wire.Encode(m)
		back, err := wire.Decode(again)
		if err != nil {
			t.Fatalf("%x decodes, its encoding %x does not: %v", b, again, err)
		}
		if !bytes.Equal(wire.Encode(back), again) {
			t.Fatalf("encoding of %x is not stable", b)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	kept(f)
	f.Add(wire.EncodeManifest(&manifest))
	f.Add(wire.EncodeManifest(&wire.Manifest{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.DecodeManifest(b)
		if err != nil {
			return
		}
		again := wire.EncodeManifest(m)
		if back, err := wire.DecodeManifest(again); err != nil || !bytes.Equal(wire.EncodeManifest(back), again) {
			t.Fatalf("%x: encoding is not stable: %v", b, err)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	kept(f)
	for _, m := range samples {
		var b bytes.Buffer
		if err := wire.WriteFrame(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			if _, err := wire.ReadFrame(r, 0); err != nil {
				return
			}
			if r.Len() >= before {
				t.Fatal("a frame of no bytes")
			}
		}
	})
}
