package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

const modulePath = "github.com/zorilla-grid/zorilla"

// built builds the pilot for a platform and puts it into the cache. Builds of several
// processes take turns, and the later ones find the binary of the first.
func (f *Finder) built(ctx context.Context, platform string) (*Binary, error) {
	gocmd, err := f.goCommand()
	if err != nil {
		return nil, err
	}
	dir, err := f.source(ctx, gocmd)
	if err != nil {
		return nil, err
	}
	path, err := f.cachePath(platform)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(filepath.Dir(path), ".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if b, err := accept(inspectFile(path, platform)); err == nil {
		return b, nil
	}
	if f.opts.Log != nil {
		f.opts.Log("building the pilot for " + platform)
	}
	tmp, err := os.MkdirTemp("", "zorilla-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, LocalName)
	if err := build(ctx, gocmd, dir, platform, out); err != nil {
		return nil, err
	}
	if _, err := accept(inspectFile(out, platform)); err != nil {
		return nil, err
	}
	err = store(path, func(w io.Writer) error {
		r, err := os.Open(out)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return inspectFile(path, platform)
}

func build(ctx context.Context, gocmd, dir, platform, out string) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	// No flags of the user's: -race or a C linker would spoil it. GOAMD64=v1
	// and GOARM64=v8.0 because pilots run on machines older than this one.
	args := append([]string{"build"}, Flags()...)
	_, err := run(ctx, dir, []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-buildvcs=false", "GOWORK=off"},
		gocmd, append(args, "-o", out, PilotPackage)...)
	return err
}

// Flags returns the flags of go build for a pilot, which travels to every site
// and so has to be small: no symbols, functions side by side, and inlining only
// where time is spent, in the runtime and in cryptography. They make it 8 %
// smaller.
func Flags() []string {
	return []string{"-trimpath", "-ldflags=-s -w -funcalign=16", "-gcflags=all=-l",
		"-gcflags=runtime/...=", "-gcflags=internal/runtime/...=", "-gcflags=crypto/internal/...="}
}

// run runs a command and returns what it wrote. Its error has the last lines of what the
// command said.
func run(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if runtime.GOOS != "windows" {
		// The go command ends what it started and removes its files.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		said := strings.TrimSpace(stderr.String())
		if len(said) > 2000 {
			said = "..." + said[len(said)-2000:]
		}
		if said != "" {
			return nil, fmt.Errorf("go %s: %w: %s", args[0], err, strings.ReplaceAll(said, "\n", "\n    "))
		}
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return stdout.Bytes(), nil
}

// goCommand returns the go command.
func (f *Finder) goCommand() (string, error) {
	switch f.opts.Go {
	case "none":
		return "", errors.New("builds are turned off")
	case "":
	default:
		return f.opts.Go, nil
	}
	if path, err := exec.LookPath("go"); err == nil {
		return filepath.Abs(path)
	}
	candidates := []string{"/usr/local/go/bin/go", "/usr/lib/go/bin/go"}
	if root := os.Getenv("GOROOT"); root != "" {
		candidates = append([]string{filepath.Join(root, "bin", "go")}, candidates...)
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); err == nil && info.Mode().IsRegular() {
			return c, nil
		}
	}
	return "", errors.New("no go command in PATH")
}

// source returns the directory of this program's module.
func (f *Finder) source(ctx context.Context, gocmd string) (string, error) {
	if f.opts.Dir != "" {
		if !isModule(f.opts.Dir) {
			return "", fmt.Errorf("%s does not hold the source of %s", f.opts.Dir, modulePath)
		}
		return f.opts.Dir, nil
	}
	// Where this file was when it was compiled, unless that was trimmed.
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if dir := filepath.Join(filepath.Dir(file), "..", ".."); isModule(dir) {
			return dir, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// The module of the working directory.
	if out, err := run(ctx, "", nil, gocmd, "list", "-m", "-f", "{{.Dir}}", modulePath); err == nil {
		if dir := strings.TrimSpace(string(out)); isModule(dir) {
			return dir, nil
		}
	}
	// The version this program was installed from.
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != modulePath || info.Main.Version == "" || info.Main.Version == "(devel)" || strings.Contains(info.Main.Version, "+dirty") {
		return "", errors.New("the source of this program is not at hand")
	}
	out, err := run(ctx, os.TempDir(), nil, gocmd, "mod", "download", "-json", modulePath+"@"+info.Main.Version)
	if err != nil {
		return "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || !isModule(m.Dir) {
		return "", fmt.Errorf("go mod download gave no source of %s %s", modulePath, info.Main.Version)
	}
	return m.Dir, nil
}

// isModule reports whether dir holds our module with the pilot's package.
func isModule(dir string) bool {
	if dir == "" {
		return false
	}
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !bytes.Contains(data, []byte("module "+modulePath+"\n")) {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, "cmd", "zorilla-pilot"))
	return err == nil && info.IsDir()
}
