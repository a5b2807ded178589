package flood_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func hubID(i int) wire.NodeID { return wire.NodeID{9, byte(i >> 8), byte(i)} }

// table says that a hub, which is x milliseconds to the east, has free slots.
func table(i int, seq uint64, x float32, free int) *wire.Table {
	t := &wire.Table{Hub: hubID(i), Site: hubID(i).Short(), Seq: seq, Pilots: 100,
		Coordinate: &wire.Coordinate{Position: wire.Position{x}, Error: 0.1}}
	if free > 0 {
		t.Classes = []wire.Class{{Offer: wire.Offer{Slots: 1, Cores: 1}, Platform: "linux/amd64", Pilots: uint32(free), Slots: uint32(free)}}
	}
	return t
}

// line is hubs in a row, 10 ms from one to the next, with so many free slots each.
func line(free ...int) *flood.Tables {
	t := new(flood.Tables)
	for i, n := range free {
		t.Hear(0, table(i, 1, float32(10*i), n), 0)
	}
	return t
}

func asked(to []wire.Ask) (hubs []int, workers int) {
	for _, a := range to {
		hubs = append(hubs, int(a.Node[1])<<8|int(a.Node[2]))
		workers += int(a.Workers)
	}
	return hubs, workers
}

func view(t *flood.Tables) flood.View {
	return flood.View{Tables: t, Needs: &wire.Requirements{}, From: flood.Place{Coordinate: &wire.Coordinate{Error: 0.1}}}
}

// TestAsk: where slots are known, just the hubs that are close together are
// asked, for a little more than is needed.
func TestAsk(t *testing.T) {
	var s flood.Search
	step := s.Next(0, 32, view(line(20, 0, 0, 0, 0, 0, 20, 20, 20)))
	hubs, workers := asked(step.To)
	if !slices.Equal(hubs, []int{6, 7}) && !slices.Equal(hubs, []int{7, 8}) || workers != 34 || step.Spare != 2 || step.Flood {
		t.Errorf("asked hubs %v for %d workers, %d to spare; want two neighbours, for 34, 2 to spare", hubs, workers, step.Spare)
	}
	if again := s.Next(time.Second, 32, view(line())); len(again.To) > 0 || again.Flood || again.Until != step.Until {
		t.Errorf("a new advert before the round is over asks again: %+v", again)
	}
	for _, h := range hubs {
		s.Claimed(hubID(h), 16)
	}
	if step = s.Next(time.Second, 0, view(line())); len(step.To) > 0 || step.Flood || s.Open() {
		t.Errorf("nobody but those who were asked knows of it, nobody is to be told: %+v", step)
	}
}

// TestNotEnough: when the tables say that there is not enough, the job has its
// place in every queue at once.
func TestNotEnough(t *testing.T) {
	var s flood.Search
	if step := s.Next(0, 32, view(line(10, 10))); !step.Flood || !s.Open() {
		t.Errorf("%+v, want a flood", step)
	}
	if step := s.Next(time.Second, 12, view(line(10, 10))); !step.Flood {
		t.Errorf("the next advert: %+v, want a flood", step)
	}
	if step := s.Next(2*time.Second, 0, view(line())); !step.Flood || s.Open() {
		t.Errorf("the last advert: %+v, want a flood, and an end", step)
	}
}

// TestLiar: a hub that does not have what it says costs one round.
func TestLiar(t *testing.T) {
	tables := line(1, 40, 8, 8, 8, 8, 8)
	var s flood.Search
	step := s.Next(0, 32, view(tables))
	if hubs, _ := asked(step.To); !slices.Equal(hubs, []int{1}) {
		t.Fatalf("asked %v, want the hub that says to have it all", hubs)
	}
	step = s.Next(step.Until, 32, view(tables))
	if hubs, _ := asked(step.To); slices.Contains(hubs, 1) || len(hubs) < 4 {
		t.Errorf("then asked %v, want others", hubs)
	}
	if !slices.Equal(step.Liars, []wire.NodeID{hubID(1)}) {
		t.Errorf("distrusted: %v", step.Liars)
	}
	if p := tables.Places(step.Until, &wire.Requirements{}); p[1].Workers != 0 {
		t.Errorf("the liar is still believed to have %d slots", p[1].Workers)
	}
	for range 9 {
		if tables.Distrust(0, hubID(1)) {
			t.Error("it is news more than once")
		}
	}
	if p := tables.Places(24*time.Hour, &wire.Requirements{}); p[1].Workers == 0 {
		t.Error("it is never believed again")
	}
}

// TestUnlucky: who was overtaken by others, and says so, is not distrusted.
func TestUnlucky(t *testing.T) {
	tables := line(40, 40)
	var s flood.Search
	step := s.Next(0, 32, view(tables))
	hubs, _ := asked(step.To)
	tables.Hear(time.Second, table(hubs[0], 2, float32(10*hubs[0]), 0), 0)
	step = s.Next(step.Until, 32, view(tables))
	if more, _ := asked(step.To); len(step.Liars) > 0 || slices.Equal(more, hubs) {
		t.Errorf("distrusted %v, asked %v; want the other hub, and no distrust", step.Liars, more)
	}
}

// TestBounded: whatever hubs say, after a few rounds the search opens.
func TestBounded(t *testing.T) {
	tables := line()
	for i := range 200 {
		tables.Hear(0, table(i, 1, float32(i), 90), 0)
	}
	var s flood.Search
	now := time.Duration(0)
	for round := 1; ; round++ {
		step := s.Next(now, 64, view(tables))
		if step.Flood {
			break
		}
		if round > 3 || step.Until <= now {
			t.Fatalf("round %d: %+v", round, step)
		}
		now = step.Until
	}
	if now > 10*time.Second {
		t.Errorf("opened after %v", now)
	}
}

// TestRings: a search without tables asks the nearest hubs first, in rings that
// extend each other: no hub is searched twice.
func TestRings(t *testing.T) {
	tables := line()
	for i := range 100 {
		tables.Hear(0, table(i, 1, float32(10*i), 50), 0)
	}
	v := view(tables)
	v.Blind = true
	var s flood.Search
	seen := make(map[int]bool)
	now, last := time.Duration(0), -1
	for ring := 1; ; ring++ {
		step := s.Next(now, 64, v)
		if step.Flood {
			if ring < 4 {
				t.Errorf("everywhere in ring %d", ring)
			}
			break
		}
		hubs, workers := asked(step.To)
		if workers != 0 || len(hubs) < flood.RingFirst || len(hubs) > max(flood.RingFirst, len(seen)) {
			t.Errorf("ring %d: %d hubs, %d workers after %d hubs", ring, len(hubs), workers, len(seen))
		}
		for _, h := range hubs {
			if seen[h] {
				t.Errorf("ring %d searches hub %d again", ring, h)
			}
			if h != last+1 {
				t.Errorf("ring %d goes from hub %d to %d", ring, last, h)
			}
			seen[h], last = true, h
		}
		now = step.Until
	}

	s = flood.Search{}
	s.Next(0, 64, v)
	for i := range flood.RingFirst {
		s.Claimed(hubID(i), 5)
	}
	step := s.Next(time.Minute, 24, v)
	if hubs, _ := asked(step.To); len(hubs) != 5 {
		t.Errorf("with 40 found at 8 hubs and 24 wanted, the next ring has %d hubs, want 5", len(hubs))
	}
	step = s.Next(time.Minute, 0, v)
	if hubs, _ := asked(step.To); len(hubs) != 13 || step.Flood {
		t.Errorf("the end is told to %d hubs, want the 13 that know of the job", len(hubs))
	}
}

// TestFewHubs: a session of a few sites is searched at once.
func TestFewHubs(t *testing.T) {
	v := view(line(0, 0, 0, 0, 0, 0, 0, 0))
	for _, v.Blind = range []bool{false, true} {
		var s flood.Search
		if step := s.Next(0, 3, v); !step.Flood {
			t.Errorf("blind %v: %+v, want a flood", v.Blind, step)
		}
	}
}

// TestFind: a pilot's search first asks its hub, and does without an answer.
func TestFind(t *testing.T) {
	v := view(line())
	v.Asks = true
	var s flood.Search
	step := s.Next(0, 3, v)
	if !step.Find || step.Until == 0 {
		t.Fatalf("%+v, want a question", step)
	}
	if step := s.Next(step.Until, 3, v); !step.Flood {
		t.Errorf("unanswered: %+v, want a flood", step)
	}
	s = flood.Search{}
	s.Next(0, 3, v)
	s.Found()
	v.Tables = line(4, 4)
	if step := s.Next(1, 3, v); len(step.To) != 1 {
		t.Errorf("answered: %+v, want one hub asked", step)
	}
}

func TestTables(t *testing.T) {
	tables := line(1, 2)
	if tables.Hear(0, table(1, 1, 0, 9), 0) || !tables.Hear(0, table(1, 2, 0, 9), time.Second) || tables.Hear(0, table(5, 1, 0, 1), flood.TableLife) {
		t.Error("news is what is newer, and not too old")
	}
	if rows := tables.Rows(time.Second, []wire.NodeID{hubID(1)}); len(rows) != 1 || rows[0].Age != 2*time.Second {
		t.Errorf("rows %+v, want one, 2 s old", rows)
	}
	if rows := tables.Rows(0, []wire.NodeID{}); len(rows) != 0 {
		t.Errorf("no hubs: %d rows", len(rows))
	}
	tables.Expire(flood.TableLife - time.Second)
	if tables.Len() != 1 || tables.Get(hubID(1)) != nil {
		t.Error("a table that is not renewed should have been forgotten, and only that")
	}
	for i := range flood.MaxHubs + 1 {
		tables.Hear(0, table(i, 9, 0, 1), 0)
	}
	if tables.Len() != flood.MaxHubs {
		t.Errorf("%d tables, want at most %d", tables.Len(), flood.MaxHubs)
	}
}

func TestFit(t *testing.T) {
	tab := &wire.Table{Pilots: 9, Classes: []wire.Class{
		{Offer: wire.Offer{Slots: 8, Cores: 16, Memory: 32 << 30}, Platform: "linux/amd64", Pilots: 4, Slots: 26},
		{Offer: wire.Offer{Slots: 2, Cores: 2, GPUs: 1}, Platform: "linux/arm64", Pilots: 3, Slots: 5}}}
	for name, tt := range map[string]struct {
		needs wire.Requirements
		want  int
	}{
		"anything":        {wire.Requirements{}, 31},
		"a platform":      {wire.Requirements{Platforms: []string{"linux/arm64"}}, 5},
		"two slots each":  {wire.Requirements{Cores: 4}, 12},
		"a GPU":           {wire.Requirements{GPUs: 1}, 0}, // two slots each, and not all have both free
		"memory":          {wire.Requirements{Memory: 12 << 30, Platforms: []string{"linux/amd64"}}, 8},
		"what nobody has": {wire.Requirements{Cores: 17}, 0},
	} {
		if got := flood.Fit(tab, &tt.needs); got != tt.want {
			t.Errorf("%s: %d workers fit, want %d", name, got, tt.want)
		}
	}
}

func TestSeen(t *testing.T) {
	var s flood.Seen
	q := flood.QueryOf(advert(1, 1))
	if !s.First(0, q) || s.First(time.Second, q) || s.First(time.Second, flood.QueryOf(advert(1, 1))) {
		t.Error("an advert is handled once")
	}
	newer := advert(1, 1)
	newer.Epoch++
	if !s.First(0, flood.QueryOf(advert(1, 2))) || !s.First(0, flood.QueryOf(advert(2, 1))) || !s.First(0, flood.QueryOf(newer)) {
		t.Error("another job, epoch or state is another query")
	}
	for i := range 2 * flood.MaxSeen {
		if !s.First(time.Second, flood.QueryOf(advert(3, uint64(i)))) {
			t.Fatalf("state %d is taken for another", i)
		}
	}
	if s.Len() > flood.MaxSeen || !s.First(time.Second, q) {
		t.Errorf("%d queries remembered, the first one among them; want at most %d", s.Len(), flood.MaxSeen)
	}
}

// TestChoose compares the choice with the best there is, found by trying all.
func TestChoose(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	worst := 1.0
	for range 60 {
		places := make([]flood.Place, 9)
		for i := range places {
			places[i] = flood.Place{Hub: hubID(i), Site: hubID(i).Short(), Workers: r.IntN(4),
				Coordinate: &wire.Coordinate{Position: wire.Position{r.Float32() * 100, r.Float32() * 60}, Height: r.Float32() * 5, Error: 0.1}}
		}
		const want = 6
		got := flood.Choose(places, nil, want)
		best, found := 0.0, false
		try := make([]int, len(places))
		var all func(i, left int)
		all = func(i, left int) {
			if left == 0 {
				if c := pairs(places, try); !found || c < best {
					best, found = c, true
				}
				return
			}
			if i == len(places) {
				return
			}
			for k := range min(left, places[i].Workers) + 1 {
				try[i] = k
				all(i+1, left-k)
			}
			try[i] = 0
		}
		all(0, want)
		if (got != nil) != found {
			t.Fatalf("chosen %v, possible %v", got, found)
		}
		if !found {
			continue
		}
		n := 0
		for i, k := range got {
			if n += k; k > places[i].Workers {
				t.Fatalf("%d at a place of %d", k, places[i].Workers)
			}
		}
		if n != want {
			t.Fatalf("%d chosen, want %d", n, want)
		}
		worst = max(worst, pairs(places, got)/best)
	}
	if worst > 1.05 {
		t.Errorf("a choice has %.3f times the distance of the best, want at most 1.05", worst)
	}
}

func pairs(places []flood.Place, at []int) float64 {
	sum := 0.0
	for i, a := range at {
		for j, b := range at[:i] {
			sum += float64(a*b) * flood.Between(&places[i], &places[j]).Seconds()
		}
		sum += float64(a*(a-1)/2) * flood.Between(&places[i], &places[i]).Seconds()
	}
	return sum
}

// TestChooseThere: what joins a job comes near to what it has.
func TestChooseThere(t *testing.T) {
	places := line(5, 5, 5, 5).Places(0, &wire.Requirements{})
	there := []flood.Place{{Hub: hubID(3), Site: hubID(3).Short(), Coordinate: places[3].Coordinate, Workers: 20}}
	if got := flood.Choose(places, there, 5); !slices.Equal(got, []int{0, 0, 0, 5}) {
		t.Errorf("chosen %v, want the place where the job is", got)
	}
	if flood.Choose(places, nil, 21) != nil || flood.Choose(places, nil, 0) != nil {
		t.Error("a choice of more than there is, or of nothing")
	}
}

func TestTrim(t *testing.T) {
	places := line(3, 3, 2, 1, 0).Places(0, &wire.Requirements{})
	if got := flood.Trim(places, 6); !slices.Equal(got, []int{0, 0, 2, 1, 0}) {
		t.Errorf("dropped %v, want those at the end of the line", got)
	}
}

// BenchmarkChoose measures the work for sessions of thousands of sites.
func BenchmarkChoose(b *testing.B) {
	r := rand.New(rand.NewPCG(4, 5))
	places := make([]flood.Place, flood.MaxHubs)
	for i := range places {
		places[i] = flood.Place{Hub: hubID(i), Site: hubID(i).Short(), Workers: r.IntN(3),
			Coordinate: &wire.Coordinate{Position: wire.Position{r.Float32() * 100, r.Float32() * 60}, Height: r.Float32() * 5, Error: 0.1}}
	}
	for b.Loop() {
		flood.Choose(places, nil, 64)
	}
}

// TestMeasured: what was measured between two places counts for more than where
// they seem to be.
func TestMeasured(t *testing.T) {
	places := line(5, 5, 5).Places(0, &wire.Requirements{})
	there := []flood.Place{{Hub: hubID(0), Site: hubID(0).Short(), Coordinate: places[0].Coordinate, Workers: 20}}
	places = places[1:]
	places[1].Links = []wire.HubLink{{ID: hubID(0), RTT: 900}, {ID: hubID(7)}}
	if got := flood.Choose(places, there, 5); !slices.Equal(got, []int{0, 5}) {
		t.Errorf("chosen %v, want the place that is 0.9 ms away", got)
	}
}
