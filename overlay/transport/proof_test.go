package transport_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// cardOf is what a node says of itself.
func cardOf(id *transport.Identity) *wire.Card {
	c := &wire.Card{ID: id.ID, Role: id.Role, Site: id.Site, Offer: wire.Offer{Slots: 4}, Seq: 1, Proof: id.Proof()}
	c.Signature = id.Sign(c.AppendSigned(nil))
	return c
}

func verifyCard(by *transport.Identity, c *wire.Card) error {
	return by.VerifyCard(c, c.AppendSigned(nil))
}

// pilotOfHub is a pilot that a hub of its site has admitted.
func pilotOfHub(t *testing.T, a *transport.Authority, launcher *transport.Identity, site string) (pilot, hub *transport.Identity) {
	t.Helper()
	ca := a.Signer(launcher, nil)
	addToken(t, ca, transport.Token{Name: "hub-" + site, Role: wire.RoleHub, Site: site, Joins: 1})
	hub, signer, err := join(t, ca, transport.JoinRequest{Pin: a.Pin(), Token: "hub-" + site, Secret: secret, WantSigner: true})
	if err != nil {
		t.Fatal(err)
	}
	addToken(t, signer, transport.Token{Name: "pilot", Role: wire.RolePilot, Site: site, Joins: 1})
	pilot, _, err = join(t, signer, transport.JoinRequest{Pin: a.Pin(), Token: "pilot", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return pilot, hub
}

func TestVerifyCard(t *testing.T) {
	t.Parallel()
	a := authority(t)
	launcher := identity(t, a, wire.RoleLauncher, "home")
	pilot, hub := pilotOfHub(t, a, launcher, "das5")
	for _, id := range []*transport.Identity{launcher, hub, pilot, identity(t, a, wire.RolePilot, "das4")} {
		c := cardOf(id)
		if err := c.Validate(); err != nil {
			t.Errorf("card of a %s: %v", id.Role, err)
		}
		for _, by := range []*transport.Identity{launcher, hub, pilot} {
			if err := verifyCard(by, c); err != nil {
				t.Errorf("card of a %s, by a %s: %v", id.Role, by.Role, err)
			}
		}
		v := pilot.Verifier()
		for range 2 { // the second time its proof is known
			if !v.Verify(c, c.AppendSigned(nil)) {
				t.Errorf("card of a %s: the verifier refuses it", id.Role)
			}
		}
	}
}

func TestRefusedCards(t *testing.T) {
	t.Parallel()
	a, b := authority(t), authority(t)
	launcher := identity(t, a, wire.RoleLauncher, "home")
	stranger := identity(t, b, wire.RoleLauncher, "home")
	pilot, hub := pilotOfHub(t, a, launcher, "das5")
	neighbour, _ := pilotOfHub(t, a, launcher, "das4")
	direct := identity(t, a, wire.RolePilot, "das5")
	foreign, _ := pilotOfHub(t, b, stranger, "das5")

	// as signs a card again after it was changed: whoever lies can do that.
	as := func(by *transport.Identity, change func(*wire.Card)) *wire.Card {
		c := cardOf(by)
		change(c)
		c.Signature = by.Sign(c.AppendSigned(nil))
		return c
	}
	const member = ed25519.PublicKeySize + 8 + ed25519.SignatureSize
	for name, c := range map[string]*wire.Card{
		"another session":               cardOf(foreign),
		"another session's CA":          cardOf(stranger),
		"another site":                  as(pilot, func(c *wire.Card) { c.Site = "das4" }),
		"another site, by the CA":       as(direct, func(c *wire.Card) { c.Site = "das4" }),
		"site and role run together":    as(pilot, func(c *wire.Card) { c.Site = "das5\x01" }),
		"a pilot as hub":                as(pilot, func(c *wire.Card) { c.Role = wire.RoleHub }),
		"a pilot as launcher":           as(direct, func(c *wire.Card) { c.Role = wire.RoleLauncher }),
		"a hub as pilot":                as(hub, func(c *wire.Card) { c.Role = wire.RolePilot }),
		"another node's proof":          as(pilot, func(c *wire.Card) { c.Proof = direct.Proof() }),
		"another node's name and proof": as(pilot, func(c *wire.Card) { c.ID, c.Proof = direct.ID, direct.Proof() }),
		"another hub's warrant": as(pilot, func(c *wire.Card) {
			c.Proof = slices.Concat(pilot.Proof()[:member], neighbour.Proof()[member:])
		}),
		"a pilot that signs pilots":    as(pilot, func(c *wire.Card) { c.Proof = slices.Concat(pilot.Proof()[:member], direct.Proof()) }),
		"a warrant alone":              as(pilot, func(c *wire.Card) { c.Proof = pilot.Proof()[member:] }),
		"a member's half":              as(pilot, func(c *wire.Card) { c.Proof = pilot.Proof()[:member] }),
		"no proof":                     as(direct, func(c *wire.Card) { c.Proof = nil }),
		"a later end":                  as(direct, func(c *wire.Card) { c.Proof = slices.Clone(c.Proof); c.Proof[ed25519.PublicKeySize]++ }),
		"longer than any":              as(direct, func(c *wire.Card) { c.Proof = append(slices.Clone(c.Proof), 0) }),
		"changed after it was signed":  func() *wire.Card { c := cardOf(direct); c.Free = 3; return c }(),
		"somebody else's signature":    func() *wire.Card { c := cardOf(direct); c.Signature = cardOf(pilot).Signature; return c }(),
		"an identity without its card": func() *wire.Card { c := cardOf(direct); c.ID = pilot.ID; return c }(),
	} {
		if err := verifyCard(launcher, c); !errors.Is(err, transport.ErrUntrusted) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
		v := launcher.Verifier()
		for _, good := range []*transport.Identity{pilot, direct, hub, neighbour} {
			if g := cardOf(good); !v.Verify(g, g.AppendSigned(nil)) {
				t.Fatal("a good card is refused")
			}
		}
		if v.Verify(c, c.AppendSigned(nil)) {
			t.Errorf("%s: accepted by a verifier that knows the good ones", name)
		}
	}
}

// A proof holds no longer than whoever made it could admit nodes.
func TestProofExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := transport.NewAuthority("abcdefgh", 72*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		launcher := identity(t, a, wire.RoleLauncher, "home")
		pilot, hub := pilotOfHub(t, a, launcher, "das5")
		v := launcher.Verifier()
		good := func(id *transport.Identity) bool {
			c := cardOf(id)
			cached, err := v.Verify(c, c.AppendSigned(nil)), verifyCard(launcher, c)
			if cached != (err == nil) {
				t.Errorf("%s after a while: %v, and %v when it is remembered", id.Role, err, cached)
			}
			return err == nil
		}
		if !good(pilot) || !good(hub) {
			t.Error("not good at first")
		}
		time.Sleep(25 * time.Hour)
		if good(pilot) {
			t.Error("a pilot's proof outlives the day of its hub's signer")
		}
		if !good(hub) {
			t.Error("a hub's own proof is the CA's")
		}
		time.Sleep(48 * time.Hour)
		if good(hub) {
			t.Error("a hub's proof outlives the session")
		}
	})
}

// TestVerifierBounded holds that the good of long ago are forgotten, not the
// latest, and that what is forgotten is only verified again.
func TestVerifierBounded(t *testing.T) {
	t.Parallel()
	a := authority(t)
	launcher := identity(t, a, wire.RoleLauncher, "home")
	first := cardOf(launcher)
	v := launcher.Verifier()
	for range 600 {
		c := cardOf(identity(t, a, wire.RolePilot, "das5"))
		if !v.Verify(c, c.AppendSigned(nil)) || !v.Verify(first, first.AppendSigned(nil)) {
			t.Fatal("a good card is refused")
		}
	}
	if n := transport.Proven(v); n > 512 {
		t.Errorf("%d proofs are remembered", n)
	}
}

func BenchmarkVerifyCard(b *testing.B) {
	a, err := transport.NewAuthority("abcdefgh", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	id, err := a.Identity(wire.RolePilot, "das5")
	if err != nil {
		b.Fatal(err)
	}
	c := cardOf(id)
	signed := c.AppendSigned(nil)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if err := id.VerifyCard(c, signed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		v := id.Verifier()
		for b.Loop() {
			if !v.Verify(c, signed) {
				b.Fatal("refused")
			}
		}
	})
}
