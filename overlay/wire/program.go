package wire

import (
	"io/fs"
	"strings"
	"time"
)

// Program is what every worker of a job runs. It is data: nothing of it is
// ever put into a shell's words.
type Program struct {
	Argv      []string      `cbor:"1,keyasint"`            // the program, a path in the manifest or an absolute one, and its arguments
	Env       []string      `cbor:"2,keyasint,omitempty"`  // K=V
	Runtime   string        `cbor:"3,keyasint,omitempty"`  // kind of runtime, such as "native" or "jvm"
	Java      uint32        `cbor:"4,keyasint,omitempty"`  // lowest Java release that will do, such as 17
	JVM       []string      `cbor:"5,keyasint,omitempty"`  // options for the java command
	Root      Digest        `cbor:"6,keyasint"`            // of the manifest of the job's files; zero means no files
	Holders   []NodeID      `cbor:"7,keyasint,omitempty"`  // nodes that have all of them, the origin last
	Stdin     string        `cbor:"8,keyasint,omitempty"`  // path in the manifest; empty means no input
	Outputs   []string      `cbor:"9,keyasint,omitempty"`  // globs of files to bring home from each worker
	Memory    int64         `cbor:"10,keyasint,omitempty"` // bytes a worker may use; 0 means its slots' share
	KillGrace time.Duration `cbor:"11,keyasint,omitempty"` // from the polite signal to the other one
	GPUs      uint32        `cbor:"12,keyasint,omitempty"` // that a worker is given, for itself
}

// Validate reports the first field that is out of its limits.
func (p *Program) Validate() error {
	if len(p.Argv) == 0 || p.Argv[0] == "" {
		return invalidf("program without a name")
	}
	total := 0
	for _, l := range [][]string{p.Argv, p.Env, p.JVM, p.Outputs} {
		for _, s := range l {
			total += len(s)
		}
	}
	if total > MaxProgram {
		return invalidf("program of %d bytes", total)
	}
	for _, s := range p.Env {
		if i := strings.IndexByte(s, '='); i <= 0 {
			return invalidf("environment variable %.64q", s)
		}
	}
	if p.Stdin != "" && (!fs.ValidPath(p.Stdin) || len(p.Stdin) > MaxPath) {
		return invalidf("standard input %.64q", p.Stdin)
	}
	if len(p.Holders) > MaxHolders {
		return invalidf("%d holders", len(p.Holders))
	}
	if p.GPUs > MaxCores {
		return invalidf("%d GPUs", p.GPUs)
	}
	if p.Java > 1000 || p.Memory < 0 || p.Memory > MaxBytes {
		return invalidf("Java %d, %d bytes of memory", p.Java, p.Memory)
	}
	return firstError(
		checkList("arguments", p.Argv, MaxArgs, MaxText),
		checkList("environment", p.Env, MaxArgs, MaxText),
		checkList("JVM options", p.JVM, MaxArgs, MaxText),
		checkList("outputs", p.Outputs, MaxOutputs, MaxPath),
		checkText("standard input", p.Stdin, MaxPath),
		checkText("runtime", p.Runtime, 64),
		checkTime("grace", p.KillGrace))
}
