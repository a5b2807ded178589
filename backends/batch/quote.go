package batch

import (
	"errors"
	"fmt"
	"strings"
)

// Quote makes s one word of a job's script, whatever it contains but NUL bytes.
// The word is one line, and has no carriage return: some systems read lines of a
// script that begin with their own mark, wherever they are, and refuse line ends
// of other systems. It needs the variables gat_nl and gat_cr that every script sets.
func Quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\'':
			b.WriteString(`'\''`)
		case '\n':
			b.WriteString(`'"$gat_nl"'`)
		case '\r':
			b.WriteString(`'"$gat_cr"'`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteAll makes words of all of list, with spaces between.
func quoteAll(list []string) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = Quote(s)
	}
	return strings.Join(words, " ")
}

// Words splits text as sh splits a line into words: at blanks, with single and
// double quotes and backslashes. Nothing is expanded.
func Words(text string) ([]string, error) {
	var words []string
	var w strings.Builder
	inside := false // of a word
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t':
			if inside {
				words = append(words, w.String())
				w.Reset()
				inside = false
			}
		case '\'', '"':
			inside = true
			for i++; ; i++ {
				if i >= len(text) {
					return nil, fmt.Errorf("%q: a quote is not closed", text)
				}
				if text[i] == c {
					break
				}
				if c == '"' && text[i] == '\\' && i+1 < len(text) && strings.IndexByte("\"\\$`", text[i+1]) >= 0 {
					i++
				}
				w.WriteByte(text[i])
			}
		case '\\':
			if i++; i >= len(text) {
				return nil, errors.New("a backslash at the end of " + text)
			}
			inside = true
			w.WriteByte(text[i])
		default:
			inside = true
			w.WriteByte(c)
		}
	}
	if inside {
		words = append(words, w.String())
	}
	return words, nil
}

// Native returns the user's own flags as words.
func Native(flags []string) ([]string, error) {
	var all []string
	for _, f := range flags {
		words, err := Words(f)
		if err != nil {
			return nil, fmt.Errorf("native flag %w", err)
		}
		all = append(all, words...)
	}
	return all, nil
}
