package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestShells lets the shells that are installed here complete command lines.
func TestShells(t *testing.T) {
	if testing.Short() {
		t.Skip("the scripts are tried without -short")
	}
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "zorilla")); err != nil {
		t.Skip(err)
	}
	drivers := map[string]string{
		"bash": `source <(zorilla completion bash)
			COMP_WORDS=(zorilla sit); COMP_CWORD=1; _zorilla; echo "${COMPREPLY[@]}"
			COMP_WORDS=(zorilla run --on-failure ""); COMP_CWORD=3; _zorilla; echo "${COMPREPLY[@]}"
			COMP_WORDS=(zorilla run mod); COMP_CWORD=2; _zorilla; echo "${COMPREPLY[@]}"`,
		"fish": `zorilla completion fish | source
			for line in 'zorilla sit' 'zorilla run --on-failure ' 'zorilla run mod'
				complete -C $line | string split -f1 \t | sort -r | string join ' '
			end`,
	}
	for shell, script := range drivers {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			dir := t.TempDir()
			for _, name := range []string{"model.jar", "model data"} {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), path, "-c", script)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TERM=dumb", "LANG=C.UTF-8"}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, stderr.String())
			}
			got := strings.Split(strings.TrimSpace(string(out)), "\n")
			for i, want := range [][]string{{"sites"}, {"replace", "ignore", "cancel"}, {"model.jar", "model data"}} {
				if i >= len(got) {
					t.Fatalf("only %d lines: %q, want three", len(got), got)
				}
				for _, w := range want {
					if !strings.Contains(got[i], w) {
						t.Errorf("completion %d is %q, want %q in it", i, got[i], w)
					}
				}
			}
			if stderr.Len() > 0 {
				t.Errorf("the shell said: %s", stderr.String())
			}
		})
	}
}

// TestManual has the manual page read by the program that will show it.
func TestManual(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed")
	}
	var page bytes.Buffer
	app := newApp(os.Stdout, os.Stderr)
	if err := writeMan(&page, app); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), groff, "-man", "-ww", "-Tascii", "-P-cbou")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &page, &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("groff: %v\n%s", err, stderr.String())
	}
	plain := strings.Join(strings.Fields(stdout.String()), " ")
	for _, c := range app.Commands {
		if c.Hidden {
			if strings.Contains(plain, c.Name) {
				t.Errorf("the page tells of %s, which is hidden", c.Name)
			}
			continue
		}
		for _, f := range c.Flags {
			if name := "--" + f.Names()[0]; !strings.Contains(plain, name) && !slices.Contains(f.Names(), "help") {
				t.Errorf("the page does not tell of %s %s", c.Name, name)
			}
		}
		if !strings.Contains(plain, "zorilla "+c.Name) {
			t.Errorf("the page does not tell of %s", c.Name)
		}
	}
}
