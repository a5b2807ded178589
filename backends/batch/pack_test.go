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
			tools := []string{"awk"}
			if name == "busybox" {
				tools = []string{"awk", "base64", "cat", "fold", "gzip", "rm", "sh", "tr", "wc"}
			}
			for _, tool := range tools {
				if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
					t.Fatal(err)
				}
			}
			source := rand.NewChaCha8([32]byte{1})
			for _, size := range []int{0, 1, 2, 3, 4, 5, 6, 7, 100, 1000, 100_003} {
				data := make([]byte, size)
				source.Read(data)
				packed := squeeze(data)
				for _, p := range []parcel{wide(packed), dense(packed)} {
					cmd := exec.CommandContext(t.Context(), sh, "-c", startText+nodeText+"gat_dir='"+bin+"'\n"+p.decode+" | gzip -dc")
					cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
					cmd.Stdin = bytes.NewReader(p.lines)
					var complaint strings.Builder
					cmd.Stderr = &complaint
					got, err := cmd.Output()
					if err != nil || !bytes.Equal(got, data) || complaint.Len() > 0 {
						t.Errorf("%s: of %d bytes come %d: %v: %s", p.decode, size, len(got), err, complaint.String())
					}
					if _, err := os.Stat(filepath.Join(bin, ".text")); err == nil {
						t.Errorf("%s leaves its text", p.decode)
					}
				}
			}
		})
	}
	if awks == 0 {
		t.Skip("no awk here")
	}
}

// What is written densely needs a fourteenth less than base64, with no mark of a
// scheduler's directives.
func TestDensity(t *testing.T) {
	t.Parallel()
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{2}).Read(data)
	w, d := wide(data), dense(data)
	if x := float64(len(d.lines)) / float64(len(w.lines)); x > 0.931 {
		t.Errorf("dense text is %.4f times base64", x)
	}
	if len(twins) != len(twinned) || strings.Contains(string(d.lines), "#") {
		t.Error("digits are not what they should be")
	}
	for i, c := range twins {
		if strings.IndexRune(twins, c) != i || strings.ContainsRune("+/", c) || !strings.ContainsRune(string(d.lines), c) {
			t.Errorf("the twin %q is not the only one, or not used", c)
		}
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
