package gatmem_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func tool(name string, args ...string) []string { return append([]string{"/bin/" + name}, args...) }

func TestConformance(t *testing.T) {
	m := gatmem.New()
	t.Cleanup(m.Close)
	m.Behind = map[string]*gatmem.Machine{"self": m}
	gattest.Test(t, gattest.Harness{
		Open: func(t testing.TB) gat.Login { return open(t, m) },
		Dir:  "/home", Tool: tool, Find: m.Find, Inner: "self",
	})
}

// A break hits every login of a machine, so that it is tested on one of its own.
func TestBreak(t *testing.T) {
	m := gatmem.New()
	t.Cleanup(m.Close)
	l := open(t, m)
	m.Break(errors.New("cable cut"))
	<-l.Done()
	if l.Err() == nil || l.Err().Error() != "cable cut" {
		t.Errorf("err is %v", l.Err())
	}
}

func open(t testing.TB, m *gatmem.Machine) gat.Login {
	l, err := gatmem.Backend{"": m}.Open(t.Context(), gat.Target{URL: &url.URL{Scheme: "mem"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
