package launcher

import "testing"

// A link that looks local is a login when its other end is elsewhere.
func TestOverLogins(t *testing.T) {
	t.Parallel()
	o := Overlay{
		Nodes: []OverlayNode{{ID: "l", Site: launcherSite}, {ID: "p", Site: "here"}, {ID: "h", Site: "das5"}, {ID: "q", Site: "das5"}},
		Links: []OverlayLink{{A: "l", B: "p", Path: "local"}, {A: "h", B: "l", Path: "local"}, {A: "h", B: "q", Path: "local"}, {A: "q", B: "l", Path: "routed"}},
	}
	o.overLogins([]string{launcherSite, "here"})
	for i, want := range []string{"local", "ssh", "local", "routed"} {
		if got := o.Links[i].Path; got != want {
			t.Errorf("link %d is %q, want %q", i, got, want)
		}
	}
}
