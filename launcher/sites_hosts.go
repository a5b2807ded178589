package launcher

import (
	"fmt"
	"strconv"
	"strings"
)

// expandHosts writes out a pattern such as "n[01-16]", "r[1-2]n[1,3,5-8]" or
// "me@inner1:2222". Numbers keep the width of the first one of their range. It returns at
// most limit hosts, or an error.
func expandHosts(pattern string, limit int) ([]string, error) {
	open := strings.IndexByte(pattern, '[')
	if open < 0 {
		if err := checkHost(pattern); err != nil {
			return nil, err
		}
		return []string{pattern}, nil
	}
	length := strings.IndexByte(pattern[open:], ']')
	if length < 0 {
		return nil, fmt.Errorf(`%q has "[" without "]"; write for example "n[1-16]"`, pattern)
	}
	head, body, tail := pattern[:open], pattern[open+1:open+length], pattern[open+length+1:]
	if strings.Count(tail, "[") > 3 {
		return nil, fmt.Errorf("%q has more than four ranges", pattern)
	}
	var hosts []string
	for item := range strings.SplitSeq(body, ",") {
		first, last, width, err := parseRange(item)
		if err != nil {
			return nil, fmt.Errorf(`%q: %w; write for example "n[1-16]" or "n[01,03,07-12]"`, pattern, err)
		}
		if last-first >= limit {
			return nil, fmt.Errorf("%q stands for more than %d hosts", pattern, limit)
		}
		for n := first; n <= last; n++ {
			rest, err := expandHosts(fmt.Sprintf("%s%0*d%s", head, width, n, tail), limit-len(hosts))
			if err != nil {
				return nil, err
			}
			if len(hosts)+len(rest) > limit {
				return nil, fmt.Errorf("%q stands for more than %d hosts", pattern, limit)
			}
			hosts = append(hosts, rest...)
		}
	}
	return hosts, nil
}

func parseRange(s string) (first, last, width int, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	if first, err = parseIndex(a); err != nil {
		return 0, 0, 0, err
	}
	if last, err = parseIndex(b); err != nil {
		return 0, 0, 0, err
	}
	if last < first {
		return 0, 0, 0, fmt.Errorf("the range %q runs backwards", s)
	}
	return first, last, len(a), nil
}

func parseIndex(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || len(s) > 9 {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int(n), nil
}

// checkHost reports what is wrong with "name", "user@name" or "name:port".
func checkHost(s string) error {
	rest := s
	if user, host, ok := strings.Cut(s, "@"); ok {
		if user == "" {
			return fmt.Errorf(`%q has no user before "@"`, s)
		}
		rest = host
	}
	if host, port, ok := strings.Cut(rest, ":"); ok {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q has the port %q, want 1 to 65535", s, port)
		}
		rest = host
	}
	if rest == "" || rest[0] == '-' || len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`/\]"'$;&|<>*?(){}`+"`", c)
	}) {
		return fmt.Errorf(`%q is not a host; write "name", "user@name" or "name:port"`, s)
	}
	return nil
}
