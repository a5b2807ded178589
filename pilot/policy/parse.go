package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// keys are what a policy may say.
const keys = "deny, message, max_cpu, max_bandwidth, max_pilots, max_lifetime"

// Parse reads a policy: lines of KEY = VALUE, and comments. The error names the
// line, what is wrong with it and what to write.
func Parse(data []byte) (Policy, error) {
	var p Policy
	switch {
	case len(data) > MaxSize:
		return p, fmt.Errorf("more than %d KiB", MaxSize>>10)
	case !utf8.Valid(data):
		return p, fmt.Errorf("not UTF-8 text")
	}
	seen := make(map[string]bool)
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\r\n"), "\n")
		key, value, ok, err := split(line)
		switch {
		case err != nil:
		case !ok:
			continue
		case seen[key]:
			err = fmt.Errorf("%s comes twice", key)
		default:
			seen[key] = true
			err = p.set(key, value)
		}
		if err != nil {
			return Policy{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return p, nil
}

// set takes one key of a policy.
func (p *Policy) set(key, value string) (err error) {
	switch key {
	case "deny":
		if value != "true" && value != "false" {
			return fmt.Errorf("deny is %s; write deny = true or deny = false", shorten(value))
		}
		p.Deny = value == "true"
		return nil
	case "max_pilots":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n > mostPilots || len(value) > 1 && value[0] == '0' {
			return fmt.Errorf("max_pilots is %s; write a whole number from 0 to %d, such as max_pilots = 2", shorten(value), mostPilots)
		}
		p.Pilots, p.NoPilots = int(n), n == 0
		return nil
	case "message", "max_cpu", "max_bandwidth", "max_lifetime":
	default:
		return fmt.Errorf("unknown key %q; known are %s", shorten(key), keys)
	}
	text, err := unquote(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	switch key {
	case "message":
		p.Message = oneLine(text)
	case "max_cpu":
		p.CPU, err = ParseCPU(text)
	case "max_bandwidth":
		p.Bandwidth, err = ParseRate(text)
	case "max_lifetime":
		p.Lifetime, err = ParseTime(text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// split parts a line into key and value, as they are written; it is false for
// a line that says nothing.
func split(line string) (key, value string, ok bool, err error) {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", "", false, fmt.Errorf("it holds control characters")
	}
	line = strings.Trim(line, " \t")
	if line == "" || line[0] == '#' {
		return "", "", false, nil
	}
	if line[0] == '[' {
		return "", "", false, fmt.Errorf("a policy has no tables; known keys are %s", keys)
	}
	key, value, found := strings.Cut(line, "=")
	key, value = strings.TrimRight(key, " \t"), strings.TrimLeft(value, " \t")
	if !found || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "", "", false, fmt.Errorf("%q is not KEY = VALUE; known keys are %s", shorten(line), keys)
	}
	end := len(value)
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		end = closing(value)
		if end == 0 {
			return "", "", false, fmt.Errorf("%s: the text has no end; write it in quotes, on one line", key)
		}
	} else if i := strings.IndexByte(value, '#'); i >= 0 {
		end = i
	}
	rest := strings.TrimLeft(value[end:], " \t")
	if rest != "" && rest[0] != '#' {
		return "", "", false, fmt.Errorf("%s: %q follows the value", key, shorten(rest))
	}
	value = strings.TrimRight(value[:end], " \t")
	if value == "" {
		return "", "", false, fmt.Errorf("%s has no value", key)
	}
	return key, value, true, nil
}

// closing returns where a text in quotes ends, after the quote; 0 when it does not.
func closing(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1
		case s[i] == '\\' && s[0] == '"':
			i++
		}
	}
	return 0
}

// unquote reads a text in quotes: in single ones as it is, in double ones with
// backslashes before those and before backslashes.
func unquote(s string) (string, error) {
	if s[0] == '\'' {
		return s[1 : len(s)-1], nil
	}
	if s[0] != '"' {
		return "", fmt.Errorf("%s is no text; write it in quotes", shorten(s))
	}
	var b strings.Builder
	s = s[1 : len(s)-1]
	for s != "" {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:] // never empty: closing has skipped what is escaped
		if s[0] != '"' && s[0] != '\\' {
			return "", fmt.Errorf(`it holds an escape other than \" and \\; write a backslash as \\`)
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String(), nil
}

// oneLine makes a text fit for a terminal and for a line of a log.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)), " ")
	if len(s) > MaxMessage {
		cut := MaxMessage
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return s
}

// shorten keeps the beginning of what somebody wrote.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
