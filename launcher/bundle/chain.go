package bundle

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// EnvPilot is the environment variable that names a pilot binary, for all
// platforms that it fits.
const EnvPilot = "ZORILLA_PILOT"

// LocalName is the name by which this program plays the pilot.
const LocalName = "zorilla-pilot"

//go:embed embedded
var embedded embed.FS

// search tries all ways, in order.
func (f *Finder) search(ctx context.Context, platform string) (*Binary, error) {
	if err := checkPlatform(platform); err != nil {
		return nil, err
	}
	if path, from := f.explicit(); path != "" {
		b, err := accept(inspectFile(path, platform))
		if err != nil {
			// What the user asked for is not silently replaced.
			return nil, &NotFoundError{platform, []Try{{from, err}}}
		}
		b.Source = from
		return b, nil
	}
	tries := []Try{{"given by --pilot or $" + EnvPilot, errors.New("not given")}}
	for _, way := range []struct {
		name string
		find func(context.Context, string) (*Binary, error)
	}{
		{"embedded in this program", f.embedded},
		{"cache", f.cached},
		{"build from source", f.built},
		{"this program itself", f.self},
	} {
		b, err := accept(way.find(ctx, platform))
		if err == nil {
			b.Source = way.name
			return b, nil
		}
		tries = append(tries, Try{way.name, err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, &NotFoundError{platform, tries}
}

// accept refuses a binary that would not run where it is to be shipped.
func accept(b *Binary, err error) (*Binary, error) {
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(b.Platform, "linux/") && !b.Static {
		return nil, errors.New("is not static: it would need the C library it was built with; build it with CGO_ENABLED=0")
	}
	return b, nil
}

func checkPlatform(platform string) error {
	goos, goarch, ok := strings.Cut(platform, "/")
	for _, s := range []string{goos, goarch} {
		if s == "" || strings.ContainsFunc(s, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') }) {
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf(`platform %q: want OS/ARCH such as "linux/amd64"`, platform)
	}
	return nil
}

// fileName returns the platform as part of a file name.
func fileName(platform string) string { return strings.ReplaceAll(platform, "/", "-") }

// explicit returns the path the user gave and where.
func (f *Finder) explicit() (path, from string) {
	if f.opts.Pilot != "" {
		return f.opts.Pilot, "given by --pilot"
	}
	return os.Getenv(EnvPilot), "given by $" + EnvPilot
}

// embedded takes the binary that a release put into this program.
func (f *Finder) embedded(_ context.Context, platform string) (*Binary, error) {
	z, err := embedded.Open("embedded/" + fileName(platform) + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("none: this program was not built as a release for that platform")
	}
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r, err := gzip.NewReader(z)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	return inspectBytes(data, platform)
}

// cached looks into the user's cache.
func (f *Finder) cached(_ context.Context, platform string) (*Binary, error) {
	path, err := f.cachePath(platform)
	if err != nil {
		return nil, err
	}
	b, err := inspectFile(path, platform)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no %s", path)
	}
	if err != nil {
		return nil, err
	}
	touch(path)
	return b, nil
}

// self takes this program, which plays the pilot under the name [LocalName].
func (f *Finder) self(_ context.Context, platform string) (*Binary, error) {
	if here := runtime.GOOS + "/" + runtime.GOARCH; here != platform {
		return nil, fmt.Errorf("is for %s", here)
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return inspectFile(path, platform)
}

// local implements [Finder.Local].
func (f *Finder) local(dir string) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if path, from := f.explicit(); path != "" {
		path, err := filepath.Abs(path)
		if err == nil {
			err = runnable(path, platform)
		}
		if err != nil {
			return "", &NotFoundError{platform, []Try{{from, err}}}
		}
		return path, nil
	}
	// The cache and this program were made by the same user on this machine:
	// reading them whole, to inspect them, would only cost time.
	if path, err := f.cachePath(platform); err == nil {
		if runnable(path, platform) == nil {
			return path, nil
		}
		if b, err := f.embedded(context.Background(), platform); err == nil {
			if err := store(path, func(w io.Writer) error {
				_, err := io.Copy(w, bytes.NewReader(b.data))
				return err
			}); err == nil {
				return path, nil
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return "", &NotFoundError{platform, []Try{{"this program itself", err}}}
	}
	link := filepath.Join(dir, LocalName)
	if runtime.GOOS == "windows" {
		link += ".exe"
		err = os.Link(self, link) // symbolic links need a privilege there
	} else {
		err = os.Symlink(self, link)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", &NotFoundError{platform, []Try{{"this program itself", err}}}
	}
	return link, nil
}

// runnable looks at the head of a program only.
func runnable(path, platform string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o100 == 0:
		return fmt.Errorf("%s is not executable; chmod +x it", path)
	}
	is, _, err := platformOf(f)
	if err == nil && is != platform {
		err = fmt.Errorf("is for %s, not for %s", is, platform)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
