package shell

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	maxLine  = 200 // characters of a line that is shown
	maxLines = 48  // lines of a text
)

// Lines makes text from a server fit to show: its lines without those that are empty,
// at most 48 of at most 200 characters, with nothing in them that moves a cursor or the
// direction of writing.
func Lines(text string) []string {
	var list []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(strings.Map(shown, strings.ToValidUTF8(l, "?"))); l == "" {
			continue
		}
		if r := []rune(l); len(r) > maxLine {
			l = string(r[:maxLine]) + "..."
		}
		if list = append(list, l); len(list) > maxLines {
			break
		}
	}
	return list
}

func shown(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsPrint(r):
		return r
	}
	return '?'
}

// HintExpired is the cure where [Expired] is true.
const HintExpired = "log in with ssh in a terminal and choose a new one there; nothing was answered"

// renewal matches what servers say when they want a new password: PAM's modules, those
// of directories and of one-time codes, whose PIN is such a password. "Will expire" is a
// warning only, and a new code is none of it.
var renewal = regexp.MustCompile(`(?i)\b(new|retype|re-enter)\s+(\S+\s+){0,2}(password|passphrase|pin)\b` +
	`|\b(must|required to|need to|have to)\s+(\S+\s+){0,2}(change|reset|renew)\s+(\S+\s+){0,2}(password|passphrase|pin)\b` +
	`|\b(password|passphrase|pin)\s+(has\s+|is\s+)?expired\b|\bexpired\s+(password|passphrase|pin)\b` +
	`|\b(password|passphrase|pin)\s+change\s+(is\s+)?required\b`)

// Expired tells whether a server that says this wants a new password.
func Expired(texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return renewal.MatchString(strings.Join(Lines(text), " "))
	})
}
