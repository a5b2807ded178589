package shell

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// maxScript bounds a script in bytes: systems take no longer argument lists.
const maxScript = 2 << 20

// Exec returns the text that a server is asked to execute, for a script of n
// bytes that follows on standard input. Only digits vary, and it means the same to sh,
// bash, zsh, csh, tcsh and fish. The script is read byte by byte, so that what
// follows it on standard input is the command's own.
func Exec(n int) string {
	return fmt.Sprintf(`exec /bin/sh -c 'eval "$(dd bs=1 count=%d 2>/dev/null)"'`, n)
}

// Quote makes s one word for a POSIX shell.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteAll makes each of words one word.
func quoteAll(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(Quote(w))
	}
	return b.String()
}

// A nonce marks where a command's own output begins. The script holds its
// halves apart, so that a shell that echoes its input (set -v, set -x) does not forge it.
type nonce string

func newNonce() nonce { return nonce(rand.Text()) }

// frame renders the lines that print the nonce, with a word behind it on standard output.
func (n nonce) frame(word string) string {
	a, b := n[:len(n)/2], n[len(n)/2:]
	return fmt.Sprintf("printf '%%s%%s %%s\\n' %s %s %s; printf '%%s%%s\\n' %s %s >&2", a, b, word, a, b)
}

// prologue has the shell not echo what it reads, and closes copies of the standard
// streams that a login shell leaves open (that of BSD csh does): a job that lives on
// would have them too, and the server would wait for it.
const prologue = "{ set +vx; } 2>/dev/null\nexec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-\n"

// render writes the script that goes to dir, prints the frames and runs body.
// When it cannot go to dir the word behind the nonce is "-" and the shell's words
// follow on standard error.
func (n nonce) render(dir, body string) (string, error) {
	var b strings.Builder
	b.WriteString(prologue)
	if dir != "" {
		if !strings.HasPrefix(dir, "/") {
			dir = "./" + dir // neither an option nor looked for in CDPATH
		}
		fmt.Fprintf(&b, "cd %s >/dev/null 2>&1 || { %s; cd %s >/dev/null; exit 126; }\n", Quote(dir), n.frame("-"), Quote(dir))
	}
	b.WriteString(n.frame(`"$$"`))
	b.WriteByte('\n')
	b.WriteString(body)
	b.WriteByte('\n')
	s := b.String()
	if strings.IndexByte(s, 0) >= 0 {
		return "", Problem(gat.Invalid, "", errors.New("a NUL byte cannot be passed to a command"))
	}
	if len(s) > maxScript {
		return "", Problem(gat.Invalid, "pass large data as a file or on standard input", fmt.Errorf("arguments and environment of %d bytes are too long", len(s)))
	}
	return s, nil
}

// words renders a valid command as words that can follow exec.
func words(argv, env []string) string {
	dash := strings.HasPrefix(argv[0], "-")
	for _, kv := range env {
		dash = dash || strings.HasPrefix(kv, "-")
	}
	if len(env) == 0 && !dash {
		return quoteAll(argv)
	}
	// env(1) rather than export: names a shell does not take pass too.
	w := "env "
	if dash {
		w += "-- "
	}
	if len(env) > 0 {
		w += quoteAll(env) + " "
	}
	if strings.Contains(argv[0], "=") { // env would take it for a variable
		w += `sh -c 'exec "$@"' sh `
	}
	return w + quoteAll(argv)
}
