package gat_test

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// house says which packages there may be and what each may import of ours. A
// name ending in "/..." means a package and all below it; the first line that
// matches a package counts. Tests may import what they like.
var house = []struct{ pkg, imports string }{
	{"gat", ""},
	{"gat/gatmem", "gat"},
	{"gat/gattest", "gat"},

	{"backends/all", "gat backends/..."},
	{"backends/batch", "gat"},
	{"backends/batch/batchtest", "gat backends/batch"},
	{"backends/testbed/queuetest", "gat gat/gattest backends/testbed"},
	{"backends/testbed/...", "gat"},
	{"backends/shell", "gat"},
	{"backends/ssh/sshconfig", ""},
	{"backends/ssh", "gat backends/shell backends/ssh/sshconfig"},
	{"backends/openssh", "gat backends/shell"},
	{"backends/...", "gat backends/batch"},

	{"overlay", ""},
	{"overlay/wire", ""},
	{"overlay/gossip", "overlay/wire"},
	{"overlay/gossip/gossipsim", "overlay/wire overlay/gossip overlay/sim"},
	{"overlay/vivaldi", "overlay/wire"},
	{"overlay/vivaldi/trial", "overlay/wire overlay/vivaldi"},
	{"overlay/hub", "overlay/wire"},
	{"overlay/detect", "overlay/wire"},
	{"overlay/flood", "overlay/wire overlay/vivaldi"},
	{"overlay/sim", ""},
	{"overlay/transport/memnet", ""},
	{"overlay/transport", "overlay/wire overlay/hub"},

	{"staging/swarm", "overlay/wire"},
	{"staging/store", "overlay/wire"},
	{"staging", "overlay/wire staging/swarm staging/store"},

	{"pilot/job", "overlay/wire overlay/flood overlay/vivaldi"},
	{"pilot/pool", "overlay/wire"},
	{"pilot/core", "overlay/wire overlay/gossip overlay/vivaldi overlay/hub overlay/detect overlay/flood pilot/job pilot/pool staging/swarm"},
	{"pilot/jel", ""},
	{"pilot/jelserver", "overlay/wire pilot/pool pilot/jel"},
	{"pilot/policy", ""},
	{"pilot/worker/...", "overlay/wire pilot/worker/..."},
	{"pilot/sim", "overlay/sim overlay/wire overlay/vivaldi overlay/gossip overlay/hub overlay/detect overlay/flood pilot/core pilot/job pilot/pool staging/swarm"},
	{"pilot", "overlay/wire overlay/transport staging staging/store pilot/core pilot/job pilot/pool pilot/jelserver pilot/policy pilot/worker/..."},

	{"launcher/bundle/...", ""},
	{"launcher/queue", "gat overlay/wire"},
	{"launcher", "gat overlay/... staging/... pilot/... launcher/bundle launcher/queue"},

	{"cmd/zorilla", "gat backends/all backends/batch launcher/... pilot/... staging/... overlay/..."},
	{"cmd/zorilla-pilot", "pilot"},
	{"cmd/zorilla-sim", "overlay/sim overlay/vivaldi/trial overlay/gossip/gossipsim pilot/sim"},
	{"examples/...", "pilot/jel"},
}

// pure are the packages that only decide.
var pure = []string{
	"overlay/wire", "overlay/gossip", "overlay/vivaldi", "overlay/vivaldi/trial", "overlay/hub", "overlay/detect", "overlay/flood", "overlay/sim",
	"pilot/job", "pilot/pool", "pilot/core", "staging/swarm",
	"launcher/queue",
}

// outside says what else is forbidden where, by the beginning of the import path.
var outside = []struct {
	pkgs, imports []string
	reason        string
}{
	{pure, []string{"net", "os", "os/exec", "sync", "net/http", "log", "syscall", "golang.org/x/sys", "crypto/tls"},
		"pure packages have no I/O, locks or log"},
	{[]string{"gat", "gat/gatmem", "gat/gattest", "pilot/jel"}, []string{"."},
		"it imports the standard library only"},
	{[]string{"pilot/...", "overlay/...", "staging/..."}, []string{"github.com/pkg/sftp", "golang.org/x/crypto/ssh", "github.com/aws", "github.com/urfave/cli"},
		"it is part of the pilot"},
	{[]string{"gat/...", "backends/...", "overlay", "overlay/gossip", "overlay/vivaldi", "overlay/hub", "overlay/detect", "overlay/flood", "overlay/sim",
		"overlay/transport/...", "staging/...", "pilot/...", "launcher/...", "cmd/...", "examples/..."}, []string{"github.com/fxamacker/cbor"},
		"only overlay/wire knows the encoding"},
	{[]string{"launcher/...", "gat/...", "backends/..."}, []string{"github.com/urfave/cli"},
		"only commands have a command line"},
}

// clocks are what pure packages may not use of package time.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// ownRand is what they may use of package math/rand: generators of their own.
var ownRand = []string{"New", "NewPCG", "NewChaCha8", "NewSource", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, wrong := range inspect(t, os.DirFS("..")) {
		t.Error(wrong)
	}
}

// The inspection itself must see what is wrong.
func TestImportsSeesMistakes(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"go.mod":                    {Data: []byte("module example.org/m\n")},
		"gat/a.go":                  {Data: []byte("package gat\nimport _ \"golang.org/x/sys/unix\"\n")},
		"gat/a_test.go":             {Data: []byte("package gat\nimport _ \"example.org/m/backends/ssh\"\n")},
		"backends/ssh/a.go":         {Data: []byte("package ssh\nimport _ \"example.org/m/pilot\"\n")},
		"pilot/core/a.go":           {Data: []byte("package core\nimport (\"time\"; _ \"log/slog\")\nfunc f() { go f(); _ = time.Now }\n")},
		"pilot/pool/a.go":           {Data: []byte("package pool\nimport r \"math/rand/v2\"\nvar x = r.New(nil)\nvar y = r.IntN(3)\n")},
		"overlay/flood/a.go":        {Data: []byte("package flood\nimport _ \"github.com/fxamacker/cbor/v2\"\nvar c chan int\n")},
		"pilot/a.go":                {Data: []byte("package pilot\nimport _ \"github.com/pkg/sftp\"\n")},
		"launcher/types/a.go":       {Data: []byte("package types\n")},
		"internal/a.go":             {Data: []byte("package internal\n")},
		"launcher/a.go":             {Data: []byte("package launcher\nimport _ \"example.org/m/backends/all\"\n")},
		"launcher/testdata/x/a.go":  {Data: []byte("package nothing\nimport _ \"example.org/m/backends/all\"\n")},
		"cmd/zorilla/a.go":          {Data: []byte("package main\nimport _ \"example.org/m/backends/all\"\n")},
		"pilot/worker/runtime/a.go": {Data: []byte("package runtime\nimport \"time\"\nvar _ = time.Now\n")},
	}
	want := []string{
		"backends/ssh must not import pilot",
		"gat must not import golang.org/x/sys/unix: it imports the standard library only",
		"internal is no room of the house: the table says what packages there are",
		"launcher must not import backends/all",
		"launcher/types is no room of the house: the table says what packages there are",
		"launcher/types: a package named types says nothing",
		"overlay/flood is pure and has a channel",
		"overlay/flood must not import github.com/fxamacker/cbor/v2: only overlay/wire knows the encoding",
		"pilot must not import github.com/pkg/sftp: it is part of the pilot",
		"pilot/core is pure and starts a goroutine",
		"pilot/core is pure and uses time.Now",
		"pilot/core must not import log/slog: pure packages have no I/O, locks or log",
		"pilot/pool is pure and uses math/rand/v2.IntN",
	}
	if diff := cmp.Diff(want, inspect(t, tree)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// inspect returns what is wrong with the packages of a module, sorted.
func inspect(t *testing.T, root fs.FS) []string {
	t.Helper()
	mod, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bufio.NewReader(bytes.NewReader(mod)).ReadLine()
	module := strings.TrimPrefix(string(line), "module ")
	found := make(map[string]bool)
	say := func(format string, args ...any) { found[fmt.Sprintf(format, args...)] = true }

	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		inspectFile(path.Dir(name), module, f, say)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(found))
}

func inspectFile(pkg, module string, f *ast.File, say func(string, ...any)) {
	if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "manager", "base", "misc"}, path.Base(pkg)) {
		say("%s: a package named %s says nothing", pkg, path.Base(pkg))
	}
	room := slices.IndexFunc(house, func(r struct{ pkg, imports string }) bool { return within(pkg, r.pkg) })
	if room < 0 {
		say("%s is no room of the house: the table says what packages there are", pkg)
		return
	}
	imported := make(map[string]string) // by the name used in the file
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the compiler's business
		}
		local := path.Base(name)
		if local == "v2" {
			local = path.Base(path.Dir(name))
		}
		if spec.Name != nil {
			local = spec.Name.Name
		}
		imported[local] = name
		if own, ok := strings.CutPrefix(name, module+"/"); ok {
			if !slices.ContainsFunc(strings.Fields(house[room].imports), func(p string) bool { return within(own, p) }) {
				say("%s must not import %s", pkg, own)
			}
			continue
		}
		for _, rule := range outside {
			if slices.ContainsFunc(rule.pkgs, func(p string) bool { return within(pkg, p) }) &&
				slices.ContainsFunc(rule.imports, func(deny string) bool { return denied(name, deny) }) {
				say("%s must not import %s: %s", pkg, name, rule.reason)
			}
		}
	}
	if slices.Contains(pure, pkg) {
		inspectPure(pkg, f, imported, say)
	}
}

// inspectPure looks for what pure packages must not do though they need no
// special import for it.
func inspectPure(pkg string, f *ast.File, imported map[string]string, say func(string, ...any)) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say("%s is pure and starts a goroutine", pkg)
		case *ast.ChanType:
			say("%s is pure and has a channel", pkg)
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			from := imported[x.Name]
			switch strings.TrimSuffix(from, "/v2") {
			case "time":
				if slices.Contains(clocks, n.Sel.Name) {
					say("%s is pure and uses time.%s", pkg, n.Sel.Name)
				}
			case "math/rand":
				if !slices.Contains(ownRand, n.Sel.Name) {
					say("%s is pure and uses %s.%s", pkg, from, n.Sel.Name)
				}
			}
		}
		return true
	})
}

// within reports whether a package matches a line of a table.
func within(pkg, pattern string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pkg == pattern
}

// denied reports whether an import is forbidden by a line of a table; "."
// means everything outside the standard library.
func denied(name, deny string) bool {
	if deny == "." {
		return strings.Contains(strings.Split(name, "/")[0], ".")
	}
	// "net" does not forbid net/netip, which does no I/O.
	return name == deny || strings.HasPrefix(name, deny+"/") && deny != "net"
}
