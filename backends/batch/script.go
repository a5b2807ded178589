package batch

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// What every script begins with, the functions for private directories, and what
// makes the command module available.
var (
	//go:embed start.sh
	startText string
	//go:embed node.sh
	nodeText string
	//go:embed module.sh
	moduleText string
)

// The statuses of a script that failed before its command began.
const (
	exitDir   = 118 // the working directory is not there
	exitFile  = 119 // a file could not be unpacked
	exitPlace = 120 // no directory for the files
	exitSetup = 121 // a line of setup failed
)

// exitReasons explains them.
var exitReasons = map[int]string{
	exitDir:   "the job's working directory is not there on the node",
	exitFile:  "the job's files could not be unpacked on the node: a tool for that (gzip, and one of base64, openssl, perl and python3) may be missing there, or the disk is full",
	exitPlace: "the node has no directory for the job's files: none of $TMPDIR, /local, /scratch, /var/tmp, /tmp and /dev/shm is writable, has room and lets programs run",
	exitSetup: "a line of setup failed",
}

// roomKiB is what must be free in a directory beyond what goes there.
const roomKiB = 32 << 10

// script renders a job's script.
func (d *Dialect) script(j *Job, pack packer) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	if d.Directives != nil {
		for _, line := range d.Directives(j) {
			b.WriteString(line + "\n")
		}
	}
	// The whole is one command, read before anything of it runs: some systems give
	// the script to the shell as its standard input.
	b.WriteString("{\n" + startText + d.Env(j) + wanted(j.Spec.Resources))
	if j.Spec.Resources.Shape == gat.Multi && !d.Everywhere {
		b.WriteString("gat_node() { cat <<'GAT_NODE'\n{\n" + startText + d.Env(j) + wanted(j.Spec.Resources))
		node(&b, j.Spec, pack)
		b.WriteString("}\nGAT_NODE\n}\n")
		b.WriteString(d.Spread(j))
		b.WriteString("exit \"$gat_s\"\n}\n")
		return b.String()
	}
	node(&b, j.Spec, pack)
	b.WriteString("}\n")
	return b.String()
}

// wanted is sh that sets what was asked for, where the scheduler does not tell what
// was granted: it grants no less.
func wanted(r gat.Resources) string {
	var b strings.Builder
	set := func(name string, value int64) {
		if value > 0 {
			fmt.Fprintf(&b, "[ -n \"$%[1]s\" ] || { %[1]s=%[2]d; export %[1]s; }\n", name, value)
		}
	}
	set("GAT_LEFT", Seconds(r.Walltime))
	set("GAT_CORES", int64(r.Cores))
	set("GAT_MEMORY", r.Memory)
	return b.String()
}

// node renders what runs on a node: setup, files, the command.
func node(b *strings.Builder, spec gat.JobSpec, pack packer) {
	b.WriteString(nodeText)
	out := "/dev/null"
	if spec.Stderr != "" {
		out = spec.Stderr
	}
	fmt.Fprintf(b, "gat_out=%s\n(umask 077; : >>\"$gat_out\") 2>/dev/null || gat_out=/dev/null\n", Quote(out))
	in := "/dev/null"
	if len(spec.Files) > 0 || len(spec.Stdin) > 0 {
		carried(b, spec, pack)
		if len(spec.Stdin) > 0 {
			in = `"$gat_dir/.stdin"`
		}
	}
	env := exports(b, spec.Env)
	if len(spec.Setup) > 0 {
		b.WriteString(moduleText)
		fmt.Fprintf(b, "trap 'gat_fail %d' 0\nset -e\neval %s </dev/null >>\"$gat_out\" 2>&1\nset +e\ntrap - 0\n", exitSetup, Quote(strings.Join(spec.Setup, "\n")+"\n"))
	}
	if spec.Dir != "" {
		dir := spec.Dir
		if !strings.HasPrefix(dir, "/") {
			dir = "./" + dir // neither an option nor a name for CDPATH
		}
		fmt.Fprintf(b, "cd %s >/dev/null 2>&1 || gat_fail %d\n", Quote(dir), exitDir)
	}
	fmt.Fprintf(b, "exec <%s >>\"$gat_out\" 2>&1\n", in)
	run := "exec"
	switch {
	case len(spec.Files) > 0:
		b.WriteString("PATH=$gat_path rm -f \"$gat_dir/.stdin\"\n")
		run = "gat_run"
	case len(spec.Stdin) > 0:
		b.WriteString("PATH=$gat_path rm -rf \"$gat_dir\"\n")
	}
	fmt.Fprintf(b, "%s %s\n", run, command(spec.Argv, env))
}

// carried renders the private directory with what goes into it.
func carried(b *strings.Builder, spec gat.JobSpec, pack packer) {
	need := len(spec.Stdin)
	for _, f := range spec.Files {
		need += len(f.Data)
	}
	kib := need>>10 + 64
	if len(spec.Files) > 0 {
		kib += roomKiB
	}
	fmt.Fprintf(b, `for gat_p in ${TMPDIR:+"$TMPDIR"} /local ${USER:+"/scratch/$USER"} /var/tmp /tmp /dev/shm; do
	gat_dir=
	gat_try "$gat_p" %d && break
	gat_dir=
done
[ -n "$gat_dir" ] || exit %d
`, kib, exitPlace)
	if len(spec.Files) > 0 {
		fmt.Fprintf(b, "cd \"$gat_dir\" || gat_fail %d\n", exitPlace)
	}
	put := func(name string, mode uint32, data []byte) {
		p := pack(data)
		fmt.Fprintf(b, "gat_put %s %o %s %d <<'GAT_END' || gat_fail %d\n%sGAT_END\n", name, mode, p.decode, len(data), exitFile, p.lines)
	}
	for _, f := range spec.Files {
		put(f.Name, uint32(f.Mode.Perm())&0o700, f.Data)
	}
	if len(spec.Stdin) > 0 {
		put(".stdin", 0o600, spec.Stdin)
	}
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	fixed      = []string{"UID", "EUID", "PPID", "GID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO", "IFS", "OPTIND", "_"}
)

// exports renders variables that sh can export and returns the others.
func exports(b *strings.Builder, env []string) []string {
	var rest []string
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !identifier.MatchString(name) || strings.HasPrefix(name, "gat_") || slices.Contains(fixed, name) {
			rest = append(rest, kv)
			continue
		}
		fmt.Fprintf(b, "%s=%s; export %s\n", name, Quote(value), name)
	}
	return rest
}

// command renders a command as words that can follow exec.
func command(argv, env []string) string {
	if len(env) == 0 {
		return quoteAll(argv)
	}
	w := "env -- " + quoteAll(env) + " "
	if strings.Contains(argv[0], "=") { // env would take it for a variable
		w += `sh -c 'exec "$@"' sh `
	}
	return w + quoteAll(argv)
}
