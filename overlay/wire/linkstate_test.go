package wire_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// numbered returns n identities in ascending order.
func numbered(n int) []wire.NodeID {
	list := make([]wire.NodeID, n)
	for i := range list {
		binary.BigEndian.PutUint32(list[i][:], uint32(i+1))
	}
	return list
}

func hubLinks(n int) []wire.HubLink {
	var list []wire.HubLink
	for _, id := range numbered(n) {
		list = append(list, wire.HubLink{ID: id, RTT: wire.MaxRTT * 1000})
	}
	return list
}

func subjects(n int) []wire.Subject {
	var list []wire.Subject
	for _, id := range numbered(n) {
		list = append(list, wire.Subject{ID: id, Incarnation: 1<<32 - 1})
	}
	return list
}

func TestRefusedLinkState(t *testing.T) {
	t.Parallel()
	good := wire.LinkState{Origin: id(200), Role: wire.RoleHub, Seq: 1, Links: hubLinks(2)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*wire.LinkState){
		"no origin":              func(s *wire.LinkState) { s.Origin = wire.NodeID{} },
		"no role":                func(s *wire.LinkState) { s.Role = 0 },
		"no number":              func(s *wire.LinkState) { s.Seq = 0 },
		"no greater number left": func(s *wire.LinkState) { s.Seq = 1<<62 + 1 },
		"too many links":         func(s *wire.LinkState) { s.Links = hubLinks(wire.MaxLinks + 1) },
		"links out of order":     func(s *wire.LinkState) { s.Links[0], s.Links[1] = s.Links[1], s.Links[0] },
		"a link twice":           func(s *wire.LinkState) { s.Links[1] = s.Links[0] },
		"a link to nobody":       func(s *wire.LinkState) { s.Links[0].ID = wire.NodeID{} },
		"a link to itself":       func(s *wire.LinkState) { s.Links[1].ID = s.Origin },
		"an endless round trip":  func(s *wire.LinkState) { s.Links[0].RTT++ },
		"long proof":             func(s *wire.LinkState) { s.Proof = make([]byte, wire.MaxProof+1) },
		"short signature":        func(s *wire.LinkState) { s.Signature = make([]byte, wire.SignatureSize-1) },
		"long site":              func(s *wire.LinkState) { s.Site = strings.Repeat("s", wire.MaxName+1) },
	} {
		s := good
		s.Links = slices.Clone(good.Links)
		spoil(&s)
		if err := (&wire.LinkStates{States: []*wire.LinkState{&good, &s}}).Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// TestLinkStateSigned holds that no field is left out of what is signed.
func TestLinkStateSigned(t *testing.T) {
	t.Parallel()
	good := wire.LinkState{Origin: id(200), Role: wire.RoleHub, Site: "das5", Seq: 1, Links: hubLinks(2), Proof: []byte{1}}
	seen := map[string]string{string(good.AppendSigned(nil)): "the statement itself"}
	for name, change := range map[string]func(*wire.LinkState){
		"Origin":     func(s *wire.LinkState) { s.Origin[0]++ },
		"Role":       func(s *wire.LinkState) { s.Role = wire.RoleLauncher },
		"Site":       func(s *wire.LinkState) { s.Site = "das4" },
		"Seq":        func(s *wire.LinkState) { s.Seq++ },
		"RTT":        func(s *wire.LinkState) { s.Links[1].RTT-- },
		"one link":   func(s *wire.LinkState) { s.Links = s.Links[:1] },
		"other link": func(s *wire.LinkState) { s.Links[1].ID[0] = 3 },
		"Proof":      func(s *wire.LinkState) { s.Proof = nil },
	} {
		s := good
		s.Links = slices.Clone(good.Links)
		change(&s)
		b := string(s.AppendSigned(nil))
		if other, twice := seen[b]; twice {
			t.Errorf("%s: the same bytes are signed as for %s", name, other)
		}
		seen[b] = name
	}
}

func TestRefusedDetection(t *testing.T) {
	t.Parallel()
	notice := func(n wire.Notice) *wire.Notices {
		if n.Seq == 0 {
			n.Origin, n.Seq = id(1), 1
		}
		return &wire.Notices{List: []*wire.Notice{&n}}
	}
	for name, m := range map[string]wire.Message{
		"worse than the worst health":  &wire.Beat{Health: wire.MaxHealth + 1},
		"an inquiry about nobody":      &wire.Inquiry{Seq: 1},
		"an inquiry about no identity": &wire.Inquiry{Subjects: make([]wire.Subject, 1)},
		"a long inquiry":               &wire.Inquiry{Subjects: subjects(wire.MaxInquired + 1)},
		"a long finding":               &wire.Finding{Silent: numbered(wire.MaxInquired + 1)},
		"a finding about no identity":  &wire.Finding{NoWay: make([]wire.NodeID, 1)},
		"an unhealthy finding":         &wire.Finding{Health: wire.MaxHealth + 1},
		"no notice":                    &wire.Notices{},
		"an empty notice":              &wire.Notices{List: []*wire.Notice{nil}},
		"too many notices":             &wire.Notices{List: make([]*wire.Notice, wire.MaxNotices+1)},
		"a notice of nobody":           notice(wire.Notice{Seq: 1}),
		"too many dead":                notice(wire.Notice{Dead: numbered(wire.MaxSubjects + 1)}),
		"too many suspects":            notice(wire.Notice{Suspects: subjects(wire.MaxSubjects + 1)}),
		"a dead without identity":      notice(wire.Notice{Dead: make([]wire.NodeID, 1)}),
		"a long reason":                notice(wire.Notice{Reason: strings.Repeat("x", wire.MaxReason+1)}),
		"notices about too many": &wire.Notices{List: slices.Repeat([]*wire.Notice{{Origin: id(1), Seq: 1,
			Dead: numbered(wire.MaxSubjects)}}, 5)},
		"a held notice of nobody":  &wire.Notices{Held: []wire.Held{{Seq: 1}}},
		"a held notice without no": &wire.Notices{Held: []wire.Held{{Origin: id(1)}}},
		"too much held":            &wire.LinksHeld{Held: make([]wire.Held, wire.MaxHeld+1)},
		"no statement":             &wire.LinkStates{},
		"an empty statement":       &wire.LinkStates{States: []*wire.LinkState{nil}},
		"too many hubs":            &wire.Advice{Hubs: make([]wire.HubHint, wire.MaxAdvised+1)},
		"too many deputies":        &wire.Advice{Deputies: numbered(wire.MaxDeputies + 1)},
		"a hub without identity":   &wire.Advice{Hubs: make([]wire.HubHint, 1)},
		"a negative round trip":    &wire.Advice{Hubs: []wire.HubHint{{ID: id(1), RTT: -1}}},
		"no term":                  &wire.Serve{Hub: id(1)},
		"in nobody's place":        &wire.Serve{Term: 1},
		"serves without an answer": &wire.Serve{Hub: id(1), Term: 1, Serves: true},
	} {
		if err := m.Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// TestLargestOverlay holds that what passes Validate fits into a frame.
func TestLargestOverlay(t *testing.T) {
	t.Parallel()
	state := &wire.LinkState{Origin: id(200), Role: wire.RoleHub, Site: strings.Repeat("s", wire.MaxName), Seq: 1 << 62, Links: hubLinks(wire.MaxLinks),
		Proof: make([]byte, wire.MaxProof), Signature: make([]byte, wire.SignatureSize)}
	var held []wire.Held
	for _, id := range numbered(wire.MaxHeld) {
		held = append(held, wire.Held{Origin: id, Seq: 1 << 62})
	}
	reason := strings.Repeat("r", wire.MaxReason)
	notices := slices.Repeat([]*wire.Notice{{Origin: id(1), Seq: 1 << 62, Reason: reason}}, wire.MaxNotices)
	notices[0] = &wire.Notice{Origin: id(1), Seq: 1 << 62, Reason: reason, Suspects: subjects(wire.MaxSubjects), Clears: subjects(wire.MaxSubjects),
		Dead: numbered(wire.MaxSubjects), By: numbered(wire.MaxSubjects)}
	hint := wire.HubHint{ID: id(1), Site: strings.Repeat("s", wire.MaxName), RTT: wire.MaxTime, Cuts: numbered(wire.MaxHops)}
	for _, m := range []wire.Message{
		&wire.LinkStates{States: slices.Repeat([]*wire.LinkState{state}, wire.MaxStates)},
		&wire.LinksHeld{Held: held, More: true},
		&wire.Advice{Hubs: slices.Repeat([]wire.HubHint{hint}, wire.MaxAdvised), Deputies: numbered(wire.MaxDeputies)},
		&wire.Inquiry{Seq: 1 << 63, Subjects: subjects(wire.MaxInquired)},
		&wire.Finding{Seq: 1 << 63, Alive: subjects(wire.MaxInquired), Silent: numbered(wire.MaxInquired), NoWay: numbered(wire.MaxInquired), Health: wire.MaxHealth},
		&wire.Notices{List: notices, Held: held},
	} {
		if err := m.Validate(); err != nil {
			t.Errorf("%T is meant to be valid: %v", m, err)
			continue
		}
		if _, err := wire.Decode(wire.Encode(m)); err != nil { // Encode panics when it is too large
			t.Errorf("%T: %v", m, err)
		}
	}
}
