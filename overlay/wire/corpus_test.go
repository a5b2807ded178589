package wire_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// kept gives a fuzz test the inputs that fuzzing has found worth keeping, so that
// every run of the tests tries them: testdata/corpus has a file for each test,
// of one quoted input a line. To add what more fuzzing finds:
//
//	cd $(go env GOCACHE)/fuzz/github.com/zorilla-grid/zorilla/overlay/wire
//	cat FuzzX/* | sed -n 's/^\[\]byte(\(".*"\))$/\1/p' | LC_ALL=C sort -u
func kept(f *testing.F) {
	f.Helper()
	file, err := os.Open(filepath.Join("testdata", "corpus", f.Name()))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		in, err := strconv.Unquote(lines.Text())
		if err != nil {
			f.Fatalf("%s:%d: %v", file.Name(), n, err)
		}
		f.Add([]byte(in))
	}
	if err := lines.Err(); err != nil {
		f.Fatal(err)
	}
}
