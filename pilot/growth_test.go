package pilot

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// order is a grow order for some pilots, of which these jobs are known.
func order(pilots, most uint32, jobs ...string) wire.GrowOrder {
	return wire.GrowOrder{Seq: 1, Submit: "s", Status: "q", Cancel: "c", Pilots: pilots, Most: most,
		Every: time.Minute, Away: 30 * time.Second, TTL: time.Hour, Jobs: jobs}
}

func view(minutes int, joined ...string) siteView {
	v := siteView{now: time.Duration(minutes) * time.Minute, quiet: time.Hour, pilots: len(joined), joined: map[string]bool{}, work: true}
	for _, id := range joined {
		v.joined[id] = true
	}
	return v
}

// TestKeptGrowth: what is kept of an order is known again, also after a reboot; what
// is cut off is not believed.
func TestKeptGrowth(t *testing.T) {
	t.Parallel()
	g := newGrowth(time.Minute, order(3, 9, "1", "2"))
	g.ran(growStep{submit: 2}, "8\n9\n", nil)
	g.ran(growStep{status: []string{"1", "2", "8", "9"}}, "1 running\n2 queued\n8 done\n9 queued\n", nil)
	g.ran(growStep{cancel: []string{"9"}}, "", errors.New("not now"))
	wall := time.Unix(1_700_000_000, 0)
	var kept bytes.Buffer
	if err := g.write(&kept, 2*time.Minute, wall); err != nil {
		t.Fatal(err)
	}
	text := kept.Bytes()
	again, err := readGrowth(bytes.NewReader(text), 10*time.Second, wall.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if want := 10*time.Second - time.Hour - time.Minute; again.given != want {
		t.Errorf("the order is of %v, want %v", again.given, want)
	}
	want := g.report()
	for i := range want.Jobs {
		if want.Jobs[i].State != wire.GrowDone {
			want.Jobs[i].State = wire.GrowUnknown
		}
	}
	if diff := cmp.Diff(want, again.report()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(g.order, again.order); diff != "" {
		t.Error(diff)
	}
	// The first thing is to ask.
	if step := again.next(view(1)); len(step.status) != 3 {
		t.Errorf("first it does %+v", step)
	}
	for n := range len(text) {
		if _, err := readGrowth(bytes.NewReader(text[:n]), 0, wall); err == nil {
			t.Fatalf("the first %d of %d bytes are an order", n, len(text))
		}
	}
}

// TestGrowth leads a growth through what may happen to a site: each line is a
// minute of it.
func TestGrowth(t *testing.T) {
	t.Parallel()
	type turn struct {
		joined string // jobs whose pilots are there
		want   string // what is to be done
		out    string // what the command prints; "!" fails
	}
	for name, c := range map[string]struct {
		order wire.GrowOrder
		turns []turn
		left  string // to be cancelled in the end
	}{
		"all is well": {order(2, 9, "1", "2"), []turn{
			{"1", "status 1 2", "1 running\n2 queued\n"}, {"1 2", "status 1 2", "1 running\n2 running\n"}, {"1 2", "status 1 2", "!"}}, "1 2"},
		"a pilot is lost": {order(2, 9, "1", "2"), []turn{
			{"1 2", "status 1 2", "1 running\n2 running\n"}, {"1", "status 1 2", "1 running\n2 done\n"}, {"1", "status 1 9", "1 running\n9 queued\n"},
			{"1 9", "status 1 9", "1 running\n9 running\n"}}, "1 9"},
		"a job runs again": {order(2, 9, "1", "2"), []turn{
			{"1 2", "status 1 2", "1 running\n2 running\n"}, {"1", "status 1 2", "1 running\n2 queued\n"}, {"1", "status 1 2", "1 running\n2 queued\n"}}, "1 2"},
		"too many wait": {order(2, 9, "1", "2", "3", "4"), []turn{
			{"1", "status 1 2 3 4", "1 running\n2 queued\n3 queued\n4 held\n"}, {"1", "cancel 3 4", ""}, {"1", "status 1 2", "2 queued\n1 running\n"}}, "1 2"},
		"cancelling fails": {order(1, 9, "1", "2"), []turn{
			{"1", "status 1 2", "1 running\n2 queued\n"}, {"1", "cancel 2", "!"}, {"1", "cancel 2", ""}, {"1", "status 1", "1 running\n"}}, "1"},
		"silence is not death": {order(1, 9, "1"), []turn{
			{"", "status 1", "!"}, {"", "status 1", "!"}, {"", "status 1", "!"}, {"", "status 1", ""}, {"", "status 1", "1 queued"}, {"", "status 1", ""}}, "1"},
		"nonsense": {order(1, 9, "1"), []turn{
			{"", "status 1", "Welcome to the cluster!\n1 queued\n1\n 1  \n2 running\n"}, {"", "status 1", "1 dancing"}}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGrowth(0, c.order)
			for minute, turn := range c.turns {
				v := view(minute+1, strings.Fields(turn.joined)...)
				s := g.next(v)
				got := ""
				switch {
				case s.submit > 0:
					got = "submit"
				case len(s.cancel) > 0:
					got = "cancel " + strings.Join(s.cancel, " ")
				case len(s.status) > 0:
					got = "status " + strings.Join(s.status, " ")
				}
				if got != turn.want {
					t.Fatalf("minute %d: it wants %q, want %q", minute+1, got, turn.want)
				}
				if turn.out == "!" {
					g.ran(s, "", errors.New("exit status 1"))
				} else {
					g.ran(s, turn.out, nil)
				}
				// What is missing is submitted in the same minute.
				for more := g.next(v); more.submit > 0; more = g.next(v) {
					g.ran(more, "9\n", nil)
				}
			}
			if got := strings.Join(g.rest(), " "); got != c.left {
				t.Errorf("there is left %q, want %q", got, c.left)
			}
		})
	}
}

// TestGrowthBounds holds what a hub must never do.
func TestGrowthBounds(t *testing.T) {
	t.Parallel()
	g := newGrowth(0, order(4, 6))
	if s := g.next(siteView{now: time.Minute, quiet: 29 * time.Second, work: true}); s.submit+len(s.status) > 0 {
		t.Errorf("with its launcher there it wants %+v", s)
	}
	if s := g.next(siteView{now: time.Minute, quiet: time.Hour}); s.submit > 0 {
		t.Errorf("without work it wants %+v", s)
	}
	s := g.next(view(1))
	if s.submit != 4 {
		t.Fatalf("it wants %+v, want 4 submitted", s)
	}
	g.ran(s, "1\n2\n-rf\n$(x)\n3 4\n3\n4\n5\n6\n", nil) // more than it was asked for, and no names
	want := &wire.Grown{Seq: 1, Submitted: 4, Commands: 1, Jobs: []wire.GrowJob{{ID: "1", Ours: true}, {ID: "2", Ours: true}, {ID: "3", Ours: true}, {ID: "4", Ours: true}}}
	if d := cmp.Diff(want, g.report()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	submits := 0
	for minute := 2; minute < 50; minute++ { // every pilot is lost at once
		for range 5 {
			s := g.next(view(minute))
			if len(s.status) > 0 {
				out := ""
				for _, id := range s.status {
					out += id + " done\n"
				}
				g.ran(s, out, nil)
			} else if s.submit > 0 {
				submits++
				var out []string
				for i := range s.submit {
					out = append(out, "9"+string(rune('a'+i))+string(rune('a'+minute%26)))
				}
				g.ran(s, strings.Join(out, "\n"), nil)
			}
		}
	}
	if got := g.report().Submitted; got != 6 || submits != 1 {
		t.Errorf("%d pilots were submitted by %d commands more, 6 in all are allowed", got, submits)
	}

	g = newGrowth(0, order(4, 100))
	for minute := range 30 {
		if s := g.next(view(minute)); s.submit > 0 {
			if s.status != nil || s.cancel != nil {
				t.Errorf("two things at once: %+v", s)
			}
			g.ran(s, "sbatch: error: no such account\n", errors.New("exit status 1"))
		}
	}
	if r := g.report(); r.Commands != growTries || r.Error != "exit status 1" {
		t.Errorf("submissions that fail: %+v", r)
	}
	g = newGrowth(0, order(4, 100))
	if s := g.next(view(61)); s.submit > 0 {
		t.Errorf("after its time it wants %+v", s)
	}
	g = newGrowth(0, order(400, 400))
	if s := g.next(view(1)); s.submit != growBatch {
		t.Errorf("of many it wants %d at a time, want %d", s.submit, growBatch)
	}
	many := make([]string, 0, 200)
	for i := range 200 {
		many = append(many, "j"+strings.Repeat("x", i))
	}
	g = newGrowth(0, order(1, 1, many...))
	if s := g.next(siteView{now: time.Hour, quiet: time.Hour}); len(s.cancel) != growBatch || !slices.Equal(s.cancel, many[200-growBatch:]) {
		t.Errorf("without work it cancels %d jobs first, want the last %d", len(s.cancel), growBatch)
	}
}
