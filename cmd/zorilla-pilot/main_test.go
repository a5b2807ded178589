package main_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/launcher/bundle"
)

// maxSize is the budget of the pilot's program in bytes: it is sent to every
// site of a run.
const maxSize = 8 << 20

// TestBudget builds the pilot as it is shipped: static and small.
func TestBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the pilot for two platforms")
	}
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zorilla-pilot")
			cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build"}, bundle.Flags(), []string{"-o", path, "."})...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d KiB of %d", info.Size()>>10, maxSize>>10)
			if info.Size() > maxSize {
				t.Errorf("the pilot has %d bytes, at most %d are allowed", info.Size(), maxSize)
			}
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("the pilot needs a dynamic linker")
				}
			}
			if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
				t.Errorf("the pilot needs %s", strings.Join(libs, ", "))
			}
		})
	}
}
