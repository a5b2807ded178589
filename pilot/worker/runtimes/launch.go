package runtimes

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// Options say in which world an application will run.
type Options struct {
	// Dir is the absolute path of the worker's sandbox.
	Dir string
	// App is the path of the application inside it, with slashes.
	App string
	// Args are the arguments of the application.
	Args []string
	// Memory is what the worker may use, in bytes: that of its slots. If the
	// site does not say, give the machine's memory divided by its slots; zero
	// leaves the choice to the runtime, which takes a quarter of the machine
	// for each worker.
	Memory int64
	// Cores that the worker may use; 0 for all.
	Cores int
	// JVMOpts are options of the user for the JVM. They come last and win.
	JVMOpts []string
}

// Launch is a command. Env is to be added to the worker's environment.
type Launch struct {
	Argv []string
	Env  []string
}

// Prepare turns an application into a command. For a JVM application it looks
// for a Java runtime first; if there is none that is new enough the error wraps
// [ErrNoJava] and says what was found. The caller knows the site and adds it.
func (f *Finder) Prepare(ctx context.Context, app App, o Options) (Launch, error) {
	if !filepath.IsLocal(filepath.FromSlash(o.App)) {
		return Launch{}, fmt.Errorf("prepare %q: not a path inside the sandbox", o.App)
	}
	switch app.Kind {
	case Native, Script:
		return Launch{Argv: append([]string{"./" + filepath.ToSlash(filepath.Clean(o.App))}, o.Args...)}, nil
	case JVM:
	default:
		return Launch{}, fmt.Errorf("prepare %s: cannot run an application of kind %v", o.App, app.Kind)
	}
	java, err := f.Java(ctx, app.Java)
	if err != nil {
		return Launch{}, fmt.Errorf("prepare %s: %w", o.App, err)
	}
	argv := append([]string{java.Path}, jvmFlags(o)...)
	argv = append(argv, o.JVMOpts...)
	argv = append(argv, "-jar", "./"+filepath.ToSlash(filepath.Clean(o.App)))
	return Launch{Argv: append(argv, o.Args...), Env: []string{"JAVA_HOME=" + home(java.Path)}}, nil
}

func home(java string) string { return filepath.Dir(filepath.Dir(java)) }

// jvmFlags keep a JVM within its slot and its files within the sandbox.
func jvmFlags(o Options) []string {
	flags := []string{
		"-XX:-UsePerfData", // else a file in /tmp that outlives a killed JVM
		"-Djava.io.tmpdir=" + o.Dir,
		"-XX:ErrorFile=" + filepath.Join(o.Dir, "hs_err_pid%p.log"),
	}
	if o.Cores > 0 {
		flags = append(flags, "-XX:ActiveProcessorCount="+strconv.Itoa(o.Cores))
	}
	if heap := Heap(o.Memory); heap > 0 {
		flags = append(flags, "-Xmx"+strconv.FormatInt(heap>>20, 10)+"m")
	}
	return flags
}

// Heap is the largest heap, in bytes, that a JVM gets of so much memory: what
// is left after an allowance for classes, compiled code, thread stacks and
// buffers of an eighth of it, but no less than 64 MiB and no more than 1 GiB,
// and of a half when there is too little for that. It is a multiple of 1 MiB,
// 16 MiB at least; 0 for an unknown memory.
func Heap(memory int64) int64 {
	const mib = 1 << 20
	if memory <= 0 {
		return 0
	}
	allowance := min(max(memory/8, 64*mib), 1024*mib)
	heap := max(memory-allowance, memory/2)
	return max(heap/mib, 16) * mib
}
