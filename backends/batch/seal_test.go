package batch

import (
	"fmt"
	"strings"
	"testing"
)

// An answer that was cut off anywhere is none, and what it holds cannot end it.
func TestUnseal(t *testing.T) {
	t.Parallel()
	seal := newSeal()
	body := "a\n" + newSeal() + "0\nb\n"
	whole := body + "\n" + seal + "3\n"
	if got, status, ok := unseal(whole, seal); got != body || status != 3 || !ok {
		t.Errorf("an answer is %q, %d, %v", got, status, ok)
	}
	for n := range len(whole) {
		if got, _, ok := unseal(whole[:n], seal); ok {
			t.Errorf("the first %d bytes are the answer %q", n, got)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add("a\n", 0)
	seal := newSeal()
	f.Add("\n"+newSeal()+"0\n", 255)
	f.Fuzz(func(t *testing.T, body string, status int) {
		unseal(body, seal)
		if status < 0 || status > 255 {
			return
		}
		got, code, ok := unseal(body+"\n"+seal+fmt.Sprint(status)+"\n", seal)
		if !ok || got != body || code != status {
			t.Errorf("%q sealed with %d opens as %q, %d, %v", body, status, got, code, ok)
		}
		if _, _, ok := unseal(strings.TrimSuffix(body, "\n")+"\n"+seal, seal); ok {
			t.Errorf("%q is sealed without a status", body)
		}
	})
}
