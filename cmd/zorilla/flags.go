package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

// maxWorkers is the largest number of workers of a job.
const maxWorkers = 100_000

// wanted turns the command line into a job and its options. All its errors are
// the user's.
func wanted(c *cli.Context) (launcher.Job, launcher.Options, error) {
	job, err := jobOf(c)
	if err != nil {
		if _, ok := errors.AsType[*usageError](err); !ok {
			err = &usageError{err, ""}
		}
		return launcher.Job{}, launcher.Options{}, err
	}
	opts := launcher.Options{
		Out:     c.String("out"),
		Pilot:   c.String("pilot"),
		Version: version(),
		Command: append([]string{"zorilla"}, os.Args[1:]...),
		Verbose: c.Bool("verbose"),
	}
	if opts.Lease, err = timeFlag(c, "lease", launcher.MinLease); err == nil {
		opts.Sites, opts.Backends, err = sites(c.String("sites"), c.StringSlice("site"))
	}
	if err != nil {
		return launcher.Job{}, launcher.Options{}, &usageError{err, ""}
	}
	return job, opts, nil
}

func jobOf(c *cli.Context) (launcher.Job, error) {
	help := c.Command.HelpName
	job := launcher.Job{
		Workers:   c.Int("workers"),
		Min:       c.Int("min"),
		Outputs:   c.StringSlice("output"),
		Stdin:     c.String("stdin"),
		Cores:     c.Int("cores"),
		GPUs:      c.Int("gpus"),
		Retries:   c.Int("retries"),
		Runtime:   c.String("runtime"),
		JVMOpts:   c.StringSlice("jvm-opt"),
		OnFailure: launcher.OnFailure(c.String("on-failure")),
	}
	if !c.Args().Present() {
		return job, usage(help, "no APP: name the jar, program or script to run")
	}
	job.App, job.Args = c.Args().First(), c.Args().Tail()

	switch {
	case job.Workers < 1 || job.Workers > maxWorkers:
		return job, fmt.Errorf("-n %d: want 1 to %d workers", job.Workers, maxWorkers)
	case c.IsSet("min") && (job.Min < 1 || job.Min > job.Workers):
		return job, fmt.Errorf("--min %d: want 1 to %d, the number of workers", job.Min, job.Workers)
	case c.IsSet("cores") && (job.Cores < 1 || job.Cores > 1<<16):
		return job, fmt.Errorf("--cores %d: want 1 or more", job.Cores)
	case c.IsSet("gpus") && (job.GPUs < 1 || job.GPUs > launcher.MaxGPUs):
		return job, fmt.Errorf("--gpus %d: want 1 to %d", job.GPUs, launcher.MaxGPUs)
	case job.Retries < 0 || job.Retries > 1000:
		return job, fmt.Errorf("--retries %d: want 0 to 1000", job.Retries)
	}
	switch job.OnFailure {
	case launcher.Replace, launcher.Ignore, launcher.Cancel:
	default:
		return job, fmt.Errorf("--on-failure %q: want replace, ignore or cancel", job.OnFailure)
	}
	var err error
	if job.Memory, err = sizeFlag(c, "memory"); err != nil {
		return job, err
	}
	if job.Disk, err = sizeFlag(c, "disk"); err != nil {
		return job, err
	}
	if job.Walltime, err = timeFlag(c, "walltime", time.Second); err != nil {
		return job, err
	}
	if job.GangWait, err = timeFlag(c, "gang-wait", time.Second); err != nil {
		return job, err
	}
	for _, s := range c.StringSlice("input") {
		in, err := inputOf(s)
		if err != nil {
			return job, fmt.Errorf("--input %q: %w", s, err)
		}
		job.Inputs = append(job.Inputs, in)
	}
	for _, s := range c.StringSlice("env") {
		kv, err := envOf(s)
		if err != nil {
			return job, fmt.Errorf("--env %q: %w", s, err)
		}
		job.Env = append(job.Env, kv)
	}
	if job.Stdin != "" {
		if info, err := os.Stat(job.Stdin); err != nil {
			return job, fmt.Errorf("--stdin: %w", err)
		} else if !info.Mode().IsRegular() {
			return job, fmt.Errorf("--stdin %s: is not a regular file", job.Stdin)
		}
	}
	return job, nil
}

// inputOf reads SRC[:DST].
func inputOf(s string) (launcher.Input, error) {
	in := launcher.Input{Src: s}
	if _, err := os.Lstat(s); err != nil {
		// A colon may be part of the file's name, so that goes first.
		if i := strings.LastIndexByte(s, ':'); i > 0 {
			in.Src, in.Dst = s[:i], s[i+1:]
		}
	}
	if in.Src == "" {
		return in, errors.New("no source; write SRC or SRC:DST")
	}
	if _, err := os.Stat(in.Src); err != nil {
		return in, errors.Unwrap(err)
	}
	if strings.HasSuffix(s, ":") && in.Dst == "" && in.Src != s {
		return in, errors.New("no destination after the colon")
	}
	if in.Dst != "" && !filepath.IsLocal(filepath.FromSlash(in.Dst)) {
		return in, fmt.Errorf("the destination %q leads out of the worker's directory", in.Dst)
	}
	return in, nil
}

// envOf reads K=V, or K for its value here.
func envOf(s string) (string, error) {
	k, v, ok := strings.Cut(s, "=")
	valid := k != "" && !(k[0] >= '0' && k[0] <= '9')
	for _, r := range k {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			valid = false
		}
	}
	switch {
	case !valid:
		return "", errors.New("want K=V or K, where K is made of letters, digits and _ and does not begin with a digit")
	case strings.HasPrefix(k, "ZORILLA_"):
		return "", errors.New("names that begin with ZORILLA_ are ours")
	case strings.ContainsRune(v, 0):
		return "", errors.New("the value holds a NUL")
	}
	if !ok {
		if v, ok = os.LookupEnv(k); !ok {
			return "", fmt.Errorf("%s is not set here; write %s=VALUE", k, k)
		}
	}
	return k + "=" + v, nil
}

func sizeFlag(c *cli.Context, name string) (int64, error) {
	if !c.IsSet(name) {
		return 0, nil
	}
	n, err := launcher.ParseSize(c.String(name))
	if err == nil && n <= 0 {
		err = errors.New("want more than nothing")
	}
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", name, err)
	}
	return n, nil
}

func timeFlag(c *cli.Context, name string, least time.Duration) (time.Duration, error) {
	if !c.IsSet(name) {
		return 0, nil
	}
	d, err := launcher.ParseDuration(c.String(name))
	if err == nil && d < least {
		err = fmt.Errorf("%q is too short; want at least %v", c.String(name), least)
	}
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", name, err)
	}
	return d, nil
}
