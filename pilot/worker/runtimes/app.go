package runtimes

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Kind is a way to run an application.
type Kind int

// The kinds of applications, and Auto for "as its content says".
const (
	Auto   Kind = iota
	Native      // machine code of some platform
	Script      // text that names its interpreter in the first line
	JVM         // a jar with a main class
)

var kinds = [...]string{Auto: "auto", Native: "native", Script: "script", JVM: "jvm"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kinds[k]
}

// ParseKind reads what a user may write after --runtime: auto, native (which
// includes scripts) or jvm.
func ParseKind(s string) (Kind, error) {
	switch s {
	case "", "auto":
		return Auto, nil
	case "native":
		return Native, nil
	case "jvm":
		return JVM, nil
	}
	return Auto, fmt.Errorf("runtime %q: want auto, native or jvm", s)
}

// What Inspect refuses. The error that wraps one of these says which file and
// what to do about it.
var (
	ErrMissing       = errors.New("no such application")
	ErrDirectory     = errors.New("application is a directory")
	ErrNotExecutable = errors.New("application is not executable")
	ErrEmpty         = errors.New("application is empty")
	ErrUnreadable    = errors.New("application cannot be read")
	ErrUnknown       = errors.New("application is of no known kind")
	ErrBadJar        = errors.New("jar is damaged")
	ErrNoMain        = errors.New("jar has no main class")
)

// App is what Inspect found out about an application.
type App struct {
	Path string // as given
	Kind Kind

	// Of a JVM application: the class to start, and the oldest Java that can
	// load every class of the jar (8 or more; 0 if it has no classes).
	MainClass string
	Java      int

	// Of a native one: the format ("elf", "mach-o" or "pe"), the operating
	// system and processor in Go's words ("linux", "amd64"; several separated
	// by commas for a universal binary; "" if Go has no word), and whether it
	// needs shared libraries of the machine it runs on.
	Format  string
	OS      string
	Machine string
	Dynamic bool

	// Interpreter is the program that a script names, with its arguments, or
	// the loader of a dynamic ELF file.
	Interpreter string
}

// Runs reports whether the application can run on a platform, named in Go's
// words.
func (a App) Runs(goos, goarch string) bool {
	switch {
	case a.Kind == JVM:
		return true
	case a.Kind == Script:
		return goos != "windows"
	}
	if a.OS != "" && a.OS != goos || a.Machine == "" {
		return a.OS == "" || a.OS == goos
	}
	for m := range strings.SplitSeq(a.Machine, ",") {
		if m == goarch {
			return true
		}
	}
	return false
}

// Inspect recognises the application by its content.
func Inspect(path string) (App, error) { return InspectAs(path, Auto) }

// InspectAs is Inspect for a user who says what the application is: with JVM
// the file must be a jar, with Native it must be executable but may be of any
// format the remote system knows.
func InspectAs(path string, kind Kind) (App, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if l, lerr := os.Lstat(path); lerr == nil && l.Mode()&fs.ModeSymlink != 0 {
			return App{}, fmt.Errorf("%s: %w: it is a symbolic link to nothing", path, ErrMissing)
		}
		return App{}, fmt.Errorf("%s: %w; APP is the path of a jar, a program or a script", path, ErrMissing)
	case err != nil:
		return App{}, fmt.Errorf("%s: %w: %w", path, ErrUnreadable, err)
	case fi.IsDir():
		return App{}, fmt.Errorf("%s: %w; name the program in it, and give the directory with --input", path, ErrDirectory)
	case !fi.Mode().IsRegular():
		return App{}, fmt.Errorf("%s: %w: it is no regular file", path, ErrUnknown)
	case fi.Size() == 0:
		return App{}, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	f, err := os.Open(path)
	if err != nil {
		return App{}, fmt.Errorf("%s: %w: %w; chmod +r may help", path, ErrUnreadable, err)
	}
	defer f.Close()
	app, err := inspect(f, fi.Size(), kind, filepath.Base(path))
	if err != nil {
		return App{}, fmt.Errorf("%s: %w", path, err)
	}
	app.Path = path
	if app.Kind != JVM && runtime.GOOS != "windows" && fi.Mode()&0o111 == 0 {
		return App{}, fmt.Errorf("%s: %w; chmod +x %s", path, ErrNotExecutable, path)
	}
	return app, nil
}

// inspect recognises content; it believes nothing that it has not read.
func inspect(r io.ReaderAt, size int64, kind Kind, name string) (App, error) {
	head := make([]byte, 512)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return App{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	head = head[:n]
	magic := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	if kind == JVM {
		if magic("\xca\xfe\xba\xbe") && strings.HasSuffix(name, ".class") {
			return App{}, classFile()
		}
		return inspectJar(r, size)
	}
	var app App
	switch {
	case magic("PK\x03\x04"), magic("PK\x05\x06"):
		if kind == Native { // a self-extracting or otherwise executable archive
			return App{Kind: Native}, nil
		}
		return inspectJar(r, size)
	case magic("\x7fELF"):
		app, err = inspectELF(r)
	case magic("#!"):
		app, err = inspectScript(head)
	case magic("\xca\xfe\xba\xbe") && isClass(head):
		err = classFile()
	case magic("\xca\xfe\xba\xbe"), magic("\xce\xfa\xed\xfe"), magic("\xcf\xfa\xed\xfe"):
		app, err = inspectMachO(r)
	case magic("MZ"):
		app, err = inspectPE(r)
	case strings.HasSuffix(name, ".java"):
		err = fmt.Errorf("%w: it is Java source; compile it and make a jar: javac -d classes %s && jar --create --file app.jar --main-class %s -C classes .",
			ErrUnknown, name, strings.TrimSuffix(name, ".java"))
	case kind == Auto && size > 0 && jarAtEnd(r, size):
		return inspectJar(r, size) // a jar with something put before it
	default:
		err = fmt.Errorf("%w: neither a jar, a program (ELF, Mach-O, PE) nor a script; a script must begin with a line such as #!/bin/sh", ErrUnknown)
	}
	if kind == Native && err != nil {
		return App{Kind: Native}, nil
	}
	return app, err
}

// isClass tells a class file from a universal Mach-O file, which begins alike:
// the latter has a count of a few architectures where the former has its
// version, 45 or more.
func isClass(head []byte) bool {
	return len(head) >= 8 && int(head[6])<<8|int(head[7]) >= 45
}

func classFile() error {
	return fmt.Errorf("%w: it is a single Java class; put it into a jar: jar --create --file app.jar --main-class CLASS -C DIR .", ErrUnknown)
}

func inspectScript(head []byte) (App, error) {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	interp := strings.TrimSpace(string(line))
	switch {
	case strings.HasSuffix(string(line), "\r"):
		return App{}, fmt.Errorf("%w: the lines of the script end as on Windows, which Unix takes for a part of the interpreter's name; dos2unix mends that", ErrUnknown)
	case interp == "":
		return App{}, fmt.Errorf("%w: its first line names no interpreter; write a line such as #!/bin/sh", ErrUnknown)
	}
	return App{Kind: Script, Interpreter: interp}, nil
}

func inspectELF(r io.ReaderAt) (App, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return App{}, fmt.Errorf("%w: damaged ELF file: %w", ErrUnknown, err)
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return App{}, fmt.Errorf("%w: it is an ELF file but no program (%v); link it", ErrUnknown, f.Type)
	}
	app := App{Kind: Native, Format: "elf", OS: "linux", Machine: elfMachine(f)}
	switch f.OSABI {
	case elf.ELFOSABI_FREEBSD:
		app.OS = "freebsd"
	case elf.ELFOSABI_NETBSD:
		app.OS = "netbsd"
	case elf.ELFOSABI_OPENBSD:
		app.OS = "openbsd"
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz > 0 && p.Filesz <= 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				app.Interpreter = strings.TrimRight(string(b), "\x00")
				app.Dynamic = true
			}
		}
	}
	if f.Type == elf.ET_DYN && !app.Dynamic {
		// Without a loader it is a static position-independent program or a
		// library; only the former has an entry point.
		if f.Entry == 0 {
			return App{}, fmt.Errorf("%w: it is a shared library, not a program", ErrUnknown)
		}
	}
	return app, nil
}

func elfMachine(f *elf.File) string {
	little := f.Data == elf.ELFDATA2LSB
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_386:
		return "386"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_LOONGARCH:
		return "loong64"
	case elf.EM_PPC64:
		if little {
			return "ppc64le"
		}
		return "ppc64"
	}
	return ""
}

func inspectMachO(r io.ReaderAt) (App, error) {
	name := func(c macho.Cpu) string {
		switch c {
		case macho.CpuAmd64:
			return "amd64"
		case macho.CpuArm64:
			return "arm64"
		case macho.Cpu386:
			return "386"
		}
		return ""
	}
	app := App{Kind: Native, Format: "mach-o", OS: "darwin", Dynamic: true}
	if fat, err := macho.NewFatFile(r); err == nil {
		defer fat.Close()
		var all []string
		for _, a := range fat.Arches {
			if n := name(a.Cpu); n != "" {
				all = append(all, n)
			}
		}
		app.Machine = strings.Join(all, ",")
		return app, nil
	}
	f, err := macho.NewFile(r)
	if err != nil {
		return App{}, fmt.Errorf("%w: damaged Mach-O file: %w", ErrUnknown, err)
	}
	defer f.Close()
	if f.Type != macho.TypeExec {
		return App{}, fmt.Errorf("%w: it is a Mach-O file but no program (%v)", ErrUnknown, f.Type)
	}
	app.Machine = name(f.Cpu)
	return app, nil
}

func inspectPE(r io.ReaderAt) (App, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return App{}, fmt.Errorf("%w: damaged Windows program: %w", ErrUnknown, err)
	}
	defer f.Close()
	if f.Characteristics&pe.IMAGE_FILE_DLL != 0 {
		return App{}, fmt.Errorf("%w: it is a Windows library, not a program", ErrUnknown)
	}
	app := App{Kind: Native, Format: "pe", OS: "windows", Dynamic: true}
	switch f.Machine {
	case pe.IMAGE_FILE_MACHINE_AMD64:
		app.Machine = "amd64"
	case pe.IMAGE_FILE_MACHINE_ARM64:
		app.Machine = "arm64"
	case pe.IMAGE_FILE_MACHINE_I386:
		app.Machine = "386"
	}
	return app, nil
}
