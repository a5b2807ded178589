package launcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/gat"
)

func TestOperationsAreCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	book, err := openOperations(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	url, inner := "slurm+ssh://me@das", "ssh://node1"
	bridge := gat.Operation{Site: "das/head", URL: url, Op: "run", Detail: "zorilla-pilot attach", At: at, Going: true}
	book.observe(bridge)
	book.observe(gat.Operation{Site: "das", URL: url, Op: "submit", Detail: "pilot", Jobs: []gat.JobID{"7", "8"}, At: at, Took: time.Second, Up: 100})
	for i := range 3 {
		op := gat.Operation{Site: "das", URL: url, Op: "status", At: at.Add(time.Duration(i) * time.Minute), Took: time.Second}
		if i == 1 {
			op.Err = errors.New("squeue:\n  cannot connect")
		}
		book.observe(op)
	}
	book.listen("das", "", "10.0.0.1:4000")
	bridge.Going, bridge.Told, bridge.Up, bridge.Down, bridge.Took = false, true, 10, 20, time.Minute
	book.observe(gat.Operation{Site: "das/node1", URL: inner, Op: "log in", Detail: "key id_ed25519", At: at})
	book.observe(gat.Operation{Site: "das/node1", URL: inner, Op: "run", Detail: "ls", At: at, Going: true})

	want := []OperationCount{
		{Number: 1, Site: "das", URL: url, Op: "run", Detail: "zorilla-pilot attach", Count: 1, Open: 1, First: at, Last: at},
		{Number: 2, Site: "das", URL: url, Op: "submit", Detail: "pilot", Jobs: []string{"7", "8"}, Count: 1, Up: 100, Took: 1, First: at, Last: at},
		{Number: 3, Site: "das", URL: url, Op: "status", Count: 3, Failed: 1, Took: 3, First: at, Last: at.Add(2 * time.Minute), Error: "squeue: cannot connect"},
		{Number: 4, Site: "das", Op: "listen", Detail: "10.0.0.1:4000", Count: 1},
		{Number: 5, Site: "das", Host: "node1", URL: inner, Op: "log in", Detail: "key id_ed25519", Count: 1, First: at, Last: at},
		{Number: 6, Site: "das", Host: "node1", URL: inner, Op: "run", Detail: "ls", Count: 1, Open: 1, First: at, Last: at},
	}
	listened := cmpopts.IgnoreFields(OperationCount{}, "First", "Last")
	if diff := cmp.Diff(want, book.all(), listened); diff != "" {
		t.Errorf("the book (-want +got):\n%s", diff)
	}
	// Each kind is in the file at once, as it would have to be if we died now.
	got, damaged, err := readOperations(filepath.Join(dir, operationsName))
	if err != nil || damaged != 0 || len(got) != len(want) {
		t.Errorf("%d entries in the file, %d damaged, %v; want %d", len(got), damaged, err, len(want))
	}
	book.observe(bridge)
	want[0].Open, want[0].Up, want[0].Down, want[0].Took = 0, 10, 20, 60
	if err := book.close(); err != nil {
		t.Fatal(err)
	}
	got, _, err = readOperations(filepath.Join(dir, operationsName))
	if diff := cmp.Diff(want, got, listened); err != nil || diff != "" {
		t.Errorf("the file in the end: %v (-want +got):\n%s", err, diff)
	}
	if info, err := os.Stat(filepath.Join(dir, operationsName)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info.Mode(), err)
	}
}

// Who cleans up after a run writes into the same book, whatever its launcher's death
// left of the last line.
func TestOperationsGoOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, operationsName)
	text := `{"v":1,"n":1,"site":"das","op":"log in","count":1,"took_s":1}
not JSON
{"v":2,"n":2,"site":"das","op":"run","count":1}
{"v":1,"n":-5,"site":"das","op":"run","count":1}
` + strings.Repeat("x", maxOperationLine+100) + `
{"v":1,"n":3,"site":"das","op":"run","detail":"ls","count":1,"open":1}
{"v":1,"n":4,"si`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	book, err := openOperations(dir)
	if err != nil {
		t.Fatal(err)
	}
	book.observe(gat.Operation{Site: "das", Op: "log in", At: time.Now(), Took: time.Second})
	book.observe(gat.Operation{Site: "das", Op: "run", Detail: "rm", At: time.Now()})
	if err := book.close(); err != nil {
		t.Fatal(err)
	}
	got, damaged, err := readOperations(path)
	if err != nil || damaged != 5 {
		t.Errorf("%d lines are damaged, %v; want 5", damaged, err)
	}
	want := []OperationCount{
		{Number: 1, Site: "das", Op: "log in", Count: 2, Took: 2},
		{Number: 3, Site: "das", Op: "run", Detail: "ls", Count: 1, Open: 1},
		{Number: 4, Site: "das", Op: "run", Detail: "rm", Count: 1},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(OperationCount{}, "First", "Last")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However much is done, the book stays small in memory and on disk.
func TestOperationsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	book, err := openOperations(dir)
	if err != nil {
		t.Fatal(err)
	}
	const n = 4 * maxOperations
	for i := range n {
		book.observe(gat.Operation{Site: "das", Op: "run", Detail: fmt.Sprintf("command %d %s", i, strings.Repeat("x", 100)), At: time.Now()})
	}
	all := book.all()
	if len(all) > maxOperations+10 {
		t.Errorf("%d entries of %d operations", len(all), n)
	}
	sum := 0
	for _, c := range all {
		sum += c.Count
	}
	if sum != n {
		t.Errorf("%d operations are counted, want %d", sum, n)
	}
	for range 1000 { // many of one kind, each written down
		book.written = time.Time{}
		book.observe(gat.Operation{Site: "das", Op: "run", Detail: strings.Repeat("y", gat.MaxDetail), At: time.Now()})
	}
	for i := range 5000 {
		book.written = time.Time{}
		book.observe(gat.Operation{Site: "das", Op: "run", Detail: fmt.Sprintf("command %d %s", i%7, strings.Repeat("x", 100)), At: time.Now()})
	}
	if err := book.close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(book.path)
	if err != nil || info.Size() > 8<<20 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	got, damaged, err := readOperations(book.path)
	if err != nil || damaged != 0 || len(got) != len(all) {
		t.Errorf("%d entries are read back, %d damaged, %v; want %d", len(got), damaged, err, len(all))
	}
}

func TestEachLineIsBounded(t *testing.T) {
	t.Parallel()
	lines := 0
	_, err := eachLine(strings.NewReader(strings.Repeat("line\n", 1000)), 100, 10, func([]byte) bool { lines++; return true })
	if err == nil || lines != 20 {
		t.Errorf("%d lines and %v of a file that is too large, want 20 and an error", lines, err)
	}
}
