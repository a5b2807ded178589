package batch

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is packed for a script is unpacked by each awk that is here, whatever its
// length.
func TestDense(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	awks := 0
	for _, name := range []string{"mawk", "gawk", "original-awk", "busybox", "awk"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		awks++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			if err := os.Symlink(path, filepath.Join(bin, "awk")); err != nil {
				t.Fatal(err)
			}
			source := rand.NewChaCha8([32]byte{1})
			for _, size := range []int{0, 1, 2, 3, 4, 5, 6, 7, 4*denseLine - 20, 4 * denseLine, 100_003} {
				data := make([]byte, size)
				source.Read(data)
				packed := squeeze(data)
				if len(packed)%4 != 0 {
					t.Fatalf("%d bytes are packed in %d", size, len(packed))
				}
				for _, p := range []parcel{wide(packed), dense(packed)} {
					cmd := exec.CommandContext(t.Context(), sh, "-c", startText+nodeText+"trap - 0\n"+p.decode+" | gzip -dc")
					cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
					cmd.Stdin = bytes.NewReader(p.lines)
					var complaint strings.Builder
					cmd.Stderr = &complaint
					got, err := cmd.Output()
					if err != nil || !bytes.Equal(got, data) || complaint.Len() > 0 {
						t.Errorf("%s: of %d bytes come %d: %v: %s", p.decode, size, len(got), err, complaint.String())
					}
				}
			}
		})
	}
	if awks == 0 {
		t.Skip("no awk here")
	}
}

// The digits are what awk and schedulers take for nothing else, each once.
func TestDigits(t *testing.T) {
	t.Parallel()
	if len(digits) != 85 || strings.ContainsAny(digits, "#\"'\\\n ") {
		t.Errorf("digits are %q", digits)
	}
	for i, d := range digits {
		if strings.IndexRune(digits, d) != i {
			t.Errorf("%q comes twice", d)
		}
	}
	if strings.Count(nodeText, "\""+digits+"\"") != 1 {
		t.Error("scripts have other digits")
	}
}

// A large file is packed once, however often it comes.
func TestSqueezer(t *testing.T) {
	t.Parallel()
	var s squeezer
	a, b := bytes.Repeat([]byte("a"), large), bytes.Repeat([]byte("b"), large)
	first := s.squeeze(a)
	s.squeeze(b)
	if again := s.squeeze(bytes.Clone(a)); &again[0] != &first[0] {
		t.Error("a file was packed twice")
	}
}
