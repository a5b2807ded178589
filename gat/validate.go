package gat

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Limits of what describes a job.
const (
	MaxStdin = 64 << 10 // bytes of JobSpec.Stdin
	MaxCount = 10_000   // jobs of one Submit
	maxJobID = 256
)

// Validate reports what is wrong with a specification by itself. Backends may
// call it before anything else; [Site] does.
func (s JobSpec) Validate() error {
	if i := strings.IndexFunc(s.Name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}); i >= 0 {
		return fmt.Errorf("job name %q: only letters, digits, '.', '_' and '-' are allowed", s.Name)
	}
	if s.Count < 0 || s.Count > MaxCount {
		return fmt.Errorf("job count %d is not between 1 and %d", s.Count, MaxCount)
	}
	if len(s.Stdin) > MaxStdin {
		return fmt.Errorf("the job's standard input has %d bytes: at most %d are allowed", len(s.Stdin), MaxStdin)
	}
	if s.Stderr != "" && !absolute(s.Stderr) {
		return fmt.Errorf("the job's output path %q is not absolute", s.Stderr)
	}
	if len(s.Argv) > 0 && len(s.Files) == 0 && !absolute(s.Argv[0]) {
		return fmt.Errorf("the job's program %q is not an absolute path", s.Argv[0])
	}
	if err := s.validateFiles(); err != nil {
		return err
	}
	if err := s.Resources.validate(); err != nil {
		return err
	}
	for _, line := range s.Setup {
		if strings.IndexByte(line, 0) >= 0 {
			return errors.New("a line of setup contains a NUL byte")
		}
	}
	return validate(s.Argv, s.Env, s.Dir, s.Stderr)
}

func (s JobSpec) validateFiles() error {
	if len(s.Files) == 0 {
		return nil
	}
	if s.Dir != "" {
		return fmt.Errorf("the job has files, so its working directory is theirs, not %q", s.Dir)
	}
	if len(s.Files) > MaxJobFiles {
		return fmt.Errorf("the job has %d files: at most %d are allowed", len(s.Files), MaxJobFiles)
	}
	if len(s.Argv) > 0 && !absolute(s.Argv[0]) && !strings.HasPrefix(s.Argv[0], "./") {
		return fmt.Errorf("the job's program %q is neither an absolute path nor one of the job's files: write ./name", s.Argv[0])
	}
	size := 0
	names := make(map[string]bool)
	for _, f := range s.Files {
		if !plainName(f.Name) || names[f.Name] {
			return fmt.Errorf("job file %q: a name of its own of letters, digits, '.', '_' and '-' that begins with a letter is needed", f.Name)
		}
		names[f.Name] = true
		if f.Mode&^fs.ModePerm != 0 {
			return fmt.Errorf("job file %q: mode %v has more than permission bits", f.Name, f.Mode)
		}
		size += len(f.Data)
	}
	if size > MaxJobFileSize {
		return fmt.Errorf("the job's files have %d bytes: at most %d are allowed", size, MaxJobFileSize)
	}
	return nil
}

// plainName accepts names that mean nothing else to anybody.
func plainName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || strings.ContainsRune("._-", r))) {
			return false
		}
	}
	return true
}

func (r Resources) validate() error {
	switch {
	case r.Shape < Array || r.Shape > Multi:
		return fmt.Errorf("shape %d is none: write array, single or multi", r.Shape)
	case r.Nodes < 0 || r.Cores < 0 || r.GPUs < 0 || r.Memory < 0 || r.Walltime < 0 || r.Warning < 0:
		return errors.New("resources cannot be negative")
	case r.Nodes > 1 && r.Shape != Multi:
		return fmt.Errorf("%d nodes for one job: only the shape multi has jobs of several nodes", r.Nodes)
	}
	for _, text := range append([]string{r.Queue, r.Account, r.Constraint}, r.Native...) {
		if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
			return fmt.Errorf("%q: control characters are not allowed in what is asked of a queueing system", text)
		}
	}
	return nil
}

// Validate reports what is wrong with a command by itself. Backends may call
// it before anything else; [Site] does.
func (c Command) Validate() error { return validate(c.Argv, c.Env, c.Dir, "") }

func validate(argv, env []string, dir, out string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("no program given")
	}
	for _, kv := range env {
		if strings.IndexByte(kv, '=') < 1 {
			name, _, _ := strings.Cut(kv, "=")
			return fmt.Errorf("environment entry %q is not of the form NAME=VALUE", name)
		}
		if strings.IndexByte(kv, 0) >= 0 {
			return errors.New("an environment entry contains a NUL byte")
		}
	}
	for _, a := range argv {
		if strings.IndexByte(a, 0) >= 0 {
			return errors.New("an argument contains a NUL byte")
		}
	}
	if strings.IndexByte(dir, 0) >= 0 || strings.IndexByte(out, 0) >= 0 {
		return errors.New("a path contains a NUL byte")
	}
	return nil
}

// absolute accepts the absolute paths of Unix anywhere, and those of this
// machine.
func absolute(path string) bool {
	return strings.HasPrefix(path, "/") || filepath.IsAbs(path)
}

// Validate reports whether id has the form every identifier has.
func (id JobID) Validate() error {
	if id == "" || len(id) > maxJobID {
		return fmt.Errorf("job identifier of %d bytes: 1 to %d are allowed", len(id), maxJobID)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return fmt.Errorf("job identifier %q: only printable ASCII without white space is allowed", string(id))
		}
	}
	return nil
}
