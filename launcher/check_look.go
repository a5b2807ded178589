package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// surroundings takes over what else there is.
func (c *SiteCheck) surroundings(s surroundings) {
	c.Memory, c.Outbound = s.memory, s.outbound
	c.ClockOffset = s.offset.Round(100 * time.Millisecond).Seconds()
	if off := s.offset.Round(time.Second); off.Abs() > clockSlack {
		c.note("its clock is %v off; runs do not mind", off)
	}
	if s.outbound == "none" {
		c.note("it has no route to everywhere: programs there reach other sites through zorilla only")
	}
}

// surroundings are what a host has beside scratch.
type surroundings struct {
	memory   int64
	home     string
	homeFS   string        // type of its file system
	missing  bool          // the directory that is said to be shared is not there
	locked   bool          // it cannot be written
	offset   time.Duration // how far its clock is ahead of ours
	outbound string        // see [SiteCheck]
}

// parseSurroundings reads what check.sh printed. Asked is when the question was put.
func parseSurroundings(out []byte, asked time.Time) (s surroundings) {
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "clock":
			if at, ok := parseClock(value); ok {
				s.offset = at.Sub(asked)
			}
		case "memory":
			kib, _ := strconv.ParseInt(value, 10, 64)
			s.memory = kib << 10
		case "home":
			s.homeFS, s.home, _ = strings.Cut(value, " ")
		case "outbound":
			s.outbound = value
		case "missing":
			s.missing = true
		case "readonly":
			s.locked = true
		}
	}
	return s
}

// parseClock reads seconds since 1970, with a fraction where date knows one.
func parseClock(text string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	ns, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil || len(fraction) != 9 || ns < 0 {
		ns = int64(time.Second / 2)
	}
	return time.Unix(sec, ns), true
}

// glance is what one look at a host told.
type glance struct {
	facts    facts
	factsErr error // no pilot can run there
	around   surroundings
	javas    []JavaCheck
	modules  []string
	javaErr  error
}

// glance looks at the host, in one command. What it told before an error is good.
func (h *host) glance(ctx context.Context, site *Site) (g glance, err error) {
	shared := ""
	if site.Shared != "none" {
		shared = site.Shared
	}
	began := time.Now()
	out, err := h.script(ctx, glanceScript(), nil, site.Scratch, shared, strings.Join(site.Setup, "\n"))
	_, rest, _ := strings.Cut("\n"+string(out), "\n== around\n")
	around, rest, _ := strings.Cut(rest, "\n== host\n")
	about, java, asked := strings.Cut(rest, "\n== java\n")
	// The clock is asked first: what a round trip takes is our inaccuracy.
	g.around = parseSurroundings([]byte(around+"\n"), began)
	if about == "" && err != nil {
		return g, fmt.Errorf("look at the host: %w", err)
	}
	if g.facts, g.factsErr = parseFacts([]byte(about + "\n")); g.factsErr == nil {
		g.factsErr = g.facts.scratchError(h.name)
	}
	if g.factsErr != nil {
		g.factsErr = fmt.Errorf("look at the host: %w", g.factsErr)
	}
	g.javas, g.modules, g.javaErr = parseJava(java, asked, err)
	return g, nil
}

// parseJava reads what check_java.sh printed, if it was got to, and says how the look for
// Java failed.
func parseJava(out string, asked bool, err error) (found []JavaCheck, modules []string, _ error) {
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "java":
			version, path, _ := strings.Cut(value, " ")
			found = append(found, JavaCheck{version, path})
		case "module":
			modules = append(modules, value)
		case "setup":
			return found, modules, &setupError{cmp.Or(err, errors.New("the shell ended"))}
		}
	}
	if !asked && err == nil {
		err = errors.New("the answer is cut off")
	}
	return found, modules, err
}

// A setupError says that a line of setup failed.
type setupError struct{ err error }

func (e *setupError) Error() string {
	return "a line of setup failed: " + e.err.Error() + " (try the lines there by hand, and mend setup in the sites file)"
}
func (e *setupError) Unwrap() error { return e.err }

// java says what follows from how the look for Java went.
func (c *SiteCheck) java(site *Site, err error) {
	_, failed := errors.AsType[*setupError](err)
	switch {
	case failed && !site.Batch() && len(site.Hosts) == 0:
		c.wrong("%v", err)
	case failed:
		c.note("%v; where the pilots run it may work", err)
	case err != nil:
		c.note("look for java: %v", err)
	case len(c.Java) > 0:
	case len(c.JavaModules) > 0:
		c.note(`java: none in JAVA_HOME, PATH and /usr/lib/jvm; setup = ["module load %s"] brings it`, c.JavaModules[0])
	default:
		c.note("java: none in JAVA_HOME, PATH and /usr/lib/jvm, and no module that brings it")
	}
}
