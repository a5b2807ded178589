package runtimes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrNoJava is wrapped by the error of Prepare when no Java runtime of the
// machine is new enough. The error names those that were found.
var ErrNoJava = errors.New("no suitable java")

// javaHint is what a user can do about it.
const javaHint = `; if the site has another, setup = ["module load java"] in the sites file brings it in`

// Bounds of what is asked of other programs while looking for Java.
const (
	shellLimit  = 5 * time.Second  // a login shell, whose profile may do anything
	javaLimit   = 10 * time.Second // java -version, on a slow shared file system
	outputLimit = 64 << 10         // bytes of the answer of either
	releaseSize = 64 << 10         // bytes of a release file
	jvmDirs     = 256              // entries of /usr/lib/jvm
)

// Java is one Java runtime.
type Java struct {
	Path    string // of the java program, symbolic links resolved
	Version int    // 8, 11, 17...
	From    string // where it was found: JAVA_HOME, PATH, a directory, or login shell
}

func (j Java) String() string { return fmt.Sprintf("java %d at %s", j.Version, j.Path) }

// Finder looks for the runtimes of one machine and remembers what it found.
// The zero value looks where a user would expect. It may be used from any
// goroutine; the fields must not change after its first use.
type Finder struct {
	// Getenv replaces os.Getenv for JAVA_HOME, PATH and SHELL.
	Getenv func(string) string
	// Dirs are searched for one JVM in each subdirectory; nil stands for the
	// usual ones of the system, such as /usr/lib/jvm.
	Dirs []string
	// NoShell leaves out the login shell, which is asked only when all else
	// has not given a java that is new enough.
	NoShell bool

	mu     sync.Mutex
	near   []Java // by JAVA_HOME, PATH and Dirs
	looked bool
	shell  []Java // by the login shell
	asked  bool
}

// Java returns the oldest Java runtime that is at least of the version needed:
// what an application was built for is what it was tested on. It asks for a
// login shell only if nothing near is new enough.
func (f *Finder) Java(ctx context.Context, needed int) (Java, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.looked {
		near := f.look(ctx)
		if err := ctx.Err(); err != nil {
			return Java{}, err // incomplete: not to be remembered
		}
		f.near, f.looked = near, true
	}
	if j, ok := choose(f.near, needed); ok {
		return j, nil
	}
	if !f.NoShell && !f.asked {
		shell := f.ask(ctx)
		if err := ctx.Err(); err != nil {
			return Java{}, err
		}
		f.shell, f.asked = shell, true
	}
	if j, ok := choose(f.shell, needed); ok {
		return j, nil
	}
	return Java{}, f.none(needed)
}

func choose(all []Java, needed int) (Java, bool) {
	var best Java
	for _, j := range all {
		if j.Version >= needed && (best.Version == 0 || j.Version < best.Version) {
			best = j
		}
	}
	return best, best.Version != 0
}

func (f *Finder) none(needed int) error {
	places := append([]string{"JAVA_HOME", "PATH"}, f.dirs()...)
	if !f.NoShell {
		places = append(places, "login shell")
	}
	where := strings.Join(places, ", ")
	all := slices.Concat(f.near, f.shell)
	if len(all) == 0 {
		return fmt.Errorf("%w: java %d needed; found no java in %s%s", ErrNoJava, needed, where, javaHint)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Version > all[j].Version })
	const most = 4
	var found []string
	for i, j := range all {
		if i == most {
			found = append(found, fmt.Sprintf("%d older", len(all)-most))
			break
		}
		found = append(found, j.String())
	}
	return fmt.Errorf("%w: java %d needed; found %s; none newer in %s%s", ErrNoJava, needed, strings.Join(found, ", "), where, javaHint)
}

func (f *Finder) getenv(key string) string {
	if f.Getenv != nil {
		return f.Getenv(key)
	}
	return os.Getenv(key)
}

func (f *Finder) dirs() []string {
	switch {
	case f.Dirs != nil:
		return f.Dirs
	case runtime.GOOS == "darwin":
		return []string{"/Library/Java/JavaVirtualMachines"}
	case runtime.GOOS == "windows":
		return nil
	}
	return []string{"/usr/lib/jvm"}
}

// look searches what needs no other program to be found.
func (f *Finder) look(ctx context.Context) []Java {
	s := search{seen: make(map[string]bool)}
	name := "java"
	if runtime.GOOS == "windows" {
		name = "java.exe"
	}
	if home := f.getenv("JAVA_HOME"); home != "" {
		s.add(ctx, filepath.Join(home, "bin", name), "JAVA_HOME")
	}
	for _, d := range filepath.SplitList(f.getenv("PATH")) {
		if filepath.IsAbs(d) {
			s.add(ctx, filepath.Join(d, name), "PATH")
		}
	}
	for _, dir := range f.dirs() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries[:min(len(entries), jvmDirs)] {
			for _, below := range []string{"bin", "Contents/Home/bin", "jre/bin"} {
				s.add(ctx, filepath.Join(dir, e.Name(), below, name), dir)
			}
		}
	}
	return s.found
}

type search struct {
	seen  map[string]bool
	found []Java
}

// add examines one candidate, once whatever names it has.
func (s *search) add(ctx context.Context, path, from string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || s.seen[real] || ctx.Err() != nil {
		return
	}
	s.seen[real] = true
	if fi, err := os.Stat(real); err != nil || !fi.Mode().IsRegular() || runtime.GOOS != "windows" && fi.Mode()&0o111 == 0 {
		return
	}
	v := releaseVersion(filepath.Dir(filepath.Dir(real)))
	if v == 0 {
		v = askVersion(ctx, real)
	}
	if v > 0 {
		s.found = append(s.found, Java{Path: real, Version: v, From: from})
	}
}

// releaseVersion reads the file that says what a Java home contains, so that
// no JVM has to be started; 0 if there is none.
func releaseVersion(home string) int {
	for _, dir := range []string{home, filepath.Dir(home)} { // a JRE lies in its JDK up to Java 8
		f, err := os.Open(filepath.Join(dir, "release"))
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(f, releaseSize))
		f.Close()
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "JAVA_VERSION="); ok {
				if n := parseVersion(strings.Trim(strings.TrimSpace(v), `"`)); n > 0 {
					return n
				}
			}
		}
		if filepath.Base(home) != "jre" {
			break
		}
	}
	return 0
}

// parseVersion reads 17.0.15, 1.8.0_412, 25-ea; 0 if it is none of these.
func parseVersion(s string) int {
	s = strings.TrimPrefix(s, "1.")
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		s = s[:i]
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1000 {
		return 0
	}
	return n
}

// askVersion starts the JVM to learn its version; 0 if it does not say.
func askVersion(ctx context.Context, java string) int {
	ctx, cancel := context.WithTimeout(ctx, javaLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, java, "-XX:-UsePerfData", "-version")
	out, err := output(cmd, true)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(out) {
		if _, rest, ok := strings.Cut(string(line), ` version "`); ok {
			return parseVersion(rest)
		}
	}
	return 0
}

// ask lets a login shell look, whose profile may know of modules or of a Java
// in somebody's home. Profiles talk: the answer stands between two marks that
// they cannot know.
func (f *Finder) ask(ctx context.Context) []Java {
	if runtime.GOOS == "windows" {
		return nil
	}
	mark := rand.Text()
	script := `printf '\n%s\n' ` + mark + `; command -v java; printf '%s\n' "$JAVA_HOME"; printf '%s\n' ` + mark
	s := search{seen: make(map[string]bool)}
	for _, j := range f.near {
		s.seen[j.Path] = true
	}
	shells := []string{"/bin/sh"}
	switch user := f.getenv("SHELL"); filepath.Base(user) {
	case "bash", "zsh", "ksh", "mksh", "dash": // those that understand the script
		if filepath.IsAbs(user) {
			shells = []string{user, "/bin/sh"}
		}
	}
	for _, shell := range shells {
		answer := func() []byte {
			ctx, cancel := context.WithTimeout(ctx, shellLimit)
			defer cancel()
			out, _ := output(exec.CommandContext(ctx, shell, "-lc", script), false) // the marks tell whether it worked
			return out
		}()
		_, rest, ok := bytes.Cut(answer, []byte("\n"+mark+"\n"))
		if !ok {
			continue
		}
		inner, _, ok := bytes.Cut(rest, []byte(mark+"\n"))
		if !ok {
			continue
		}
		for sc := bufio.NewScanner(bytes.NewReader(inner)); sc.Scan(); {
			p := sc.Text()
			if !filepath.IsAbs(p) {
				continue
			}
			if filepath.Base(p) != "java" {
				p = filepath.Join(p, "bin", "java")
			}
			s.add(ctx, p, "login shell")
		}
		if len(s.found) > 0 {
			break
		}
	}
	return s.found
}

// output runs a program without input and returns the beginning of what it
// prints. A process that it leaves behind with the pipe open does not keep us.
func output(cmd *exec.Cmd, stderr bool) ([]byte, error) {
	var buf capped
	if cmd.Stdout = &buf; stderr {
		cmd.Stderr = &buf
	}
	cmd.WaitDelay = 100 * time.Millisecond
	killGroup(cmd)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return buf.b, err
}

// capped keeps the first bytes and swallows the rest.
type capped struct{ b []byte }

func (c *capped) Write(p []byte) (int, error) {
	c.b = append(c.b, p[:min(len(p), outputLimit-len(c.b))]...)
	return len(p), nil
}
