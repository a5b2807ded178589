package batch_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/backends/batch"
)

// hostile are texts that a shell, a scheduler or a terminal would make something of.
var hostile = []string{
	"", " ", "'", "''", `"`, `\`, `\\`, `\'`, "$", "$x", "${x", "$(x)", "`x`", "$((1+1))", "!", "!!", "*", "?", "[a]", "~", "#", "#$ -o x", "\n#$ -q x\n", "\n#SBATCH -p x\n", "#PBS -q x",
	"a\nb", "\n", "\n\n", "a\n", "\r", "a\r\nb", "\t", ";", "&", "|", "<", ">", "(", ")", "{", "}", "a=b", "-n", "--", "-", "%s", "%n", "\x01", "\x7f", "\x1b[31m", "\xff", "\x81\x88", "é", "日本", "GAT_END", "\nGAT_END\n", "\nGAT_NODE\n",
	"$gat_nl", `'"$gat_nl"'`, strings.Repeat("'", 50), strings.Repeat("x", 4096),
}

// Words of scripts mean what they were made of, to every sh there is.
func TestQuote(t *testing.T) {
	t.Parallel()
	shells := []string{"/bin/sh"}
	for _, name := range []string{"dash", "bash", "busybox", "ksh", "zsh"} {
		if path, err := exec.LookPath(name); err == nil {
			shells = append(shells, path)
		}
	}
	var script strings.Builder
	script.WriteString("gat_nl='\n'\ngat_cr=$(printf '\\r')\nprintf '%s\\0' ")
	var want bytes.Buffer
	for _, s := range hostile {
		word := batch.Quote(s)
		if strings.ContainsAny(word, "\r\n") {
			t.Errorf("the word %q of %q is more than one line", word, s)
		}
		script.WriteString(" " + word)
		want.WriteString(s + "\x00")
	}
	for _, sh := range shells {
		args := []string{"-s"}
		if strings.HasSuffix(sh, "busybox") {
			args = []string{"sh", "-s"}
		}
		cmd := exec.Command(sh, args...)
		cmd.Stdin = strings.NewReader(script.String())
		got, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", sh, err)
		}
		if diff := cmp.Diff(strings.Split(want.String(), "\x00"), strings.Split(string(got), "\x00")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sh, diff)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                   nil,
		"  ":                 nil,
		"-q long":            {"-q", "long"},
		`--comment="a b"`:    {"--comment=a b"},
		`-l 'a b' "c\"d" \ `: {"-l", "a b", `c"d`, " "},
		`'' ""`:              {"", ""},
		`$HOME *`:            {"$HOME", "*"},
	} {
		got, err := batch.Words(text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("words of %q are %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"'", `"a`, `a\`, `"\`} {
		if got, err := batch.Words(text); err == nil {
			t.Errorf("words of %q are %q, want an error", text, got)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`-l 'a b' "c\"d" \ `)
	f.Fuzz(func(t *testing.T, text string) {
		words, err := batch.Words(text)
		if err != nil {
			return
		}
		var again []string
		for _, w := range words {
			again = append(again, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		got, err := batch.Words(strings.Join(again, " "))
		if err != nil || !cmp.Equal(got, words) {
			t.Errorf("words of %q are %q; quoted again they are %q, %v", text, words, got, err)
		}
	})
}
