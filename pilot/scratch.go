package pilot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// minScratch is the free space, in bytes, without which a directory is no scratch.
const minScratch = 32 << 20

// scratchPlaces are the directories in which hosts are wont to have scratch, in
// the order in which they are tried; home directories are none, they have
// quotas and lie on other machines.
func scratchPlaces(getenv func(string) string) []string {
	var list []string
	add := func(dir string) {
		if filepath.IsAbs(dir) && !isHome(dir, getenv("HOME")) {
			list = append(list, filepath.Clean(dir))
		}
	}
	add(getenv("TMPDIR"))
	add("/local")
	if user := getenv("USER"); user != "" && user != "." && user != ".." && !strings.ContainsAny(user, "/\x00") {
		add("/scratch/" + user)
	}
	for _, dir := range []string{"/var/tmp", "/tmp", "/dev/shm"} {
		add(dir)
	}
	return list
}

// isHome reports whether a directory is the home directory or lies in it.
func isHome(dir, home string) bool {
	home = filepath.Clean(home)
	if !filepath.IsAbs(home) || home == "/" {
		return false
	}
	return dir == home || strings.HasPrefix(dir, home+"/")
}

// findBase makes a directory of our own in the first of some places that is
// fit for it. The error tells of each why not.
func findBase(ctx context.Context, places []string) (base string, err error) {
	var why []error
	for i, dir := range places {
		if contains(places[:i], dir) {
			continue
		}
		base := filepath.Join(dir, BaseName(os.Getuid()))
		if err := tryBase(ctx, dir, base); err != nil {
			why = append(why, err)
			continue
		}
		return base, nil
	}
	host, _ := os.Hostname()
	return "", fmt.Errorf("no directory on %s can be scratch; the site's key scratch names another one: %w", host, errors.Join(why...))
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// tryBase makes the base in dir, and finds out whether it is safe, lets
// programs run, and has room. One that it made and that does not do is removed.
func tryBase(ctx context.Context, dir, base string) (err error) {
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, reasonOf(err))
	} else if !info.IsDir() {
		return fmt.Errorf("%s: not a directory", dir)
	}
	if err := SafeDir(base); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%s: not writable", dir)
		}
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(base) // only when it is empty
		}
	}()
	free, err := worker.DiskFree(base)
	switch {
	case err != nil:
		return fmt.Errorf("%s: free space not known: %w", base, err)
	case free < minScratch:
		return fmt.Errorf("%s: only %d KiB free", base, free>>10)
	}
	return tryProgram(ctx, base)
}

// tryProgram runs a program in a directory.
func tryProgram(ctx context.Context, base string) error {
	f, err := os.CreateTemp(base, ".probe-")
	if err != nil {
		return fmt.Errorf("%s: cannot write: %w", base, reasonOf(err))
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString("#!/bin/sh\nexit 7\n")
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		return fmt.Errorf("%s: cannot write: %w", base, reasonOf(err))
	}
	for range 20 { // another process of ours may be forked while the file is open
		cmd := exec.CommandContext(ctx, f.Name())
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
		if err = cmd.Run(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 7 {
		return nil
	}
	return fmt.Errorf("%s: programs cannot run there (noexec)", base)
}

// reasonOf is an error without the operation and the path that it was about.
func reasonOf(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
