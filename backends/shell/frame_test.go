package shell_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/zorilla-grid/zorilla/backends/shell"
)

const nonce = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func TestFrame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, word, rest, err string
	}{
		"bare":              {in: nonce + " 12\nout", word: "12", rest: "out"},
		"no word":           {in: nonce + "\nout", rest: "out"},
		"noise":             {in: "motd\n\x00\xff" + nonce + " 1\n\n\nout\n", word: "1", rest: "\n\nout\n"},
		"nothing after":     {in: "x" + nonce + " 1\n", word: "1"},
		"half before":       {in: nonce[:13] + nonce + " 1\nx", word: "1", rest: "x"},
		"again after":       {in: nonce + " 1\n" + nonce + " 2\n", word: "1", rest: nonce + " 2\n"},
		"long noise":        {in: strings.Repeat("noise\n", 100_000) + nonce + " 1\nx", word: "1", rest: "x"},
		"too much noise":    {in: strings.Repeat("noise\n", 200_000) + nonce + " 1\nx", err: "more than"},
		"ends":              {in: "noise", err: "ended before"},
		"ends in the frame": {in: nonce + " 1", err: "ended before"},
		"empty":             {err: "ended before"},
		"endless word":      {in: nonce + strings.Repeat("9", 5000), err: "malformed"},
		"long word":         {in: nonce + strings.Repeat("9", 100) + "\n", err: "malformed"},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in)), "eof": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			word, rest, err := shell.AwaitFrame(r, nonce)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s (%s): %v, want %q", name, how, err, c.err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s (%s): %v", name, how, err)
				continue
			}
			got, err := io.ReadAll(rest)
			if err != nil || word != c.word || string(got) != c.rest {
				t.Errorf("%s (%s): word %q, rest %q, %v; want %q, %q", name, how, word, got, err, c.word, c.rest)
			}
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("noise"), []byte("out"), byte(1))
	f.Add([]byte(nonce[:20]), []byte(nonce), byte(7))
	f.Add([]byte(""), []byte(""), byte(0))
	f.Add([]byte(strings.Repeat("x", 4090)), []byte("\n"), byte(200))
	f.Fuzz(func(t *testing.T, noise, out []byte, step byte) {
		if bytes.Contains(noise, []byte(nonce)) {
			return // nobody can guess a nonce
		}
		in := append(append(bytes.Clone(noise), nonce+" 42\n"...), out...)
		word, rest, err := shell.AwaitFrame(&stepper{in, int(step) + 1}, nonce)
		if len(noise) > shell.MaxNoise {
			return
		}
		if err != nil || word != "42" {
			t.Fatalf("word %q, %v", word, err)
		}
		if got, err := io.ReadAll(rest); err != nil || !bytes.Equal(got, out) {
			t.Fatalf("rest %q, %v; want %q", got, err, out)
		}
		// Whatever comes, it ends and does not panic.
		shell.AwaitFrame(&stepper{out, int(step) + 1}, nonce)
	})
}

// stepper reads a few bytes at a time.
type stepper struct {
	data []byte
	step int
}

func (s *stepper) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}
