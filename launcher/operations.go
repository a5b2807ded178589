package launcher

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// maxLogins is how many logins a run, a look at sites or a clean-up makes at once. Where
// nobody changed it, an sshd begins to refuse connections when ten of them have not
// said yet who they are.
const maxLogins = 10

// Bounds on what is written down of operations.
const (
	maxOperations    = 8192            // different ones; of more, only the kind is told
	maxOperationJobs = 64              // identifiers of jobs named with one
	operationsEvery  = 5 * time.Second // between two times that repeated ones are written down
	maxOperationLine = 64 << 10        // bytes
	operationsSlack  = 1 << 20         // bytes of the file that may be out of date
	maxOperationsLog = 64 << 20        // bytes of the file that are read
	operationError   = 300             // bytes kept of an error
	anyDetail        = "(many others)" // of operations past the bound
	operationsName   = "operations.jsonl"
)

// OperationCount is what was done at one host of a site, equal operations counted
// together.
type OperationCount struct {
	Number int       `json:"n"` // from 1, in order of their beginnings
	Site   string    `json:"site"`
	Host   string    `json:"host,omitempty"` // behind the site's own; empty for that one
	URL    string    `json:"url,omitempty"`
	Op     string    `json:"op"` // see [gat.Operation]; "listen" is a port that a hub opened
	Detail string    `json:"detail,omitempty"`
	Jobs   []string  `json:"jobs,omitempty"` // the first of them
	Count  int       `json:"count"`
	Failed int       `json:"failed,omitempty"` // of Count
	Open   int       `json:"open,omitempty"`   // of Count: not ended when this was written
	Up     int64     `json:"up,omitempty"`     // bytes to the site; what is open is counted at its end
	Down   int64     `json:"down,omitempty"`   // bytes from there
	First  time.Time `json:"first"`            // beginning of the first
	Last   time.Time `json:"last"`             // beginning of the last
	Took   float64   `json:"took_s"`           // all of them together
	Error  string    `json:"error,omitempty"`  // of the last that failed
}

// operationKey tells operations apart.
type operationKey struct{ site, host, url, op, detail string }

// operations is the book of what a run did at its sites, kept in a file of the run's
// state directory. An operation is written down when it begins, or ends at once, for
// the first time; of those that are repeated the counts follow within some seconds.
// Its methods may be called from any goroutine; a nil book takes nothing down.
type operations struct {
	mu      sync.Mutex
	path    string
	file    *os.File
	list    []*OperationCount
	last    int // number of the newest
	known   map[operationKey]*OperationCount
	stale   map[*OperationCount]bool // not yet written as it is now
	written time.Time
	size    int64 // of the file
	err     error // the first write that failed: nothing is written after it
}

// openOperations opens the book of a run for more; it is made, with mode 0600, if it
// does not exist.
func openOperations(dir string) (*operations, error) {
	o := &operations{path: filepath.Join(dir, operationsName), known: make(map[operationKey]*OperationCount), stale: make(map[*OperationCount]bool)}
	old, _, err := readOperations(o.path) // what cannot be read is told by the receipt
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		old = nil
	}
	for _, c := range old {
		c.Open = 0 // whoever had it open is gone
		o.list, o.last = append(o.list, &c), c.Number
		o.known[operationKey{c.Site, c.Host, c.URL, c.Op, c.Detail}] = &c
	}
	if o.file, err = os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open operations: %w", err)
	}
	if info, err := o.file.Stat(); err == nil && info.Size() > 0 {
		o.file.WriteString("\n") // ends a line that was cut off; an empty one does no harm
	}
	return o, nil
}

// observe takes down an operation at a site.
func (o *operations) observe(op gat.Operation) {
	if op.Op == "log in" && op.URL == "local:" {
		return // it is no login: there is nobody to let us in
	}
	site, host, _ := strings.Cut(op.Site, "/")
	if strings.Contains(op.URL, "+") && host == "head" {
		host = "" // the same host, without its queueing system
	}
	o.take(operationKey{site, host, op.URL, op.Op, op.Detail}, op)
}

// listen takes down a port that a hub opened.
func (o *operations) listen(site, host, address string) {
	o.take(operationKey{site: site, host: host, op: "listen", detail: address}, gat.Operation{At: time.Now()})
}

func (o *operations) take(key operationKey, op gat.Operation) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.known[key]
	if c == nil && len(o.list) >= maxOperations {
		key = operationKey{site: key.site, op: key.op, detail: anyDetail}
		c = o.known[key]
	}
	isNew := c == nil
	if isNew {
		o.last++
		c = &OperationCount{Number: o.last, Site: key.site, Host: key.host, URL: key.url, Op: key.op, Detail: key.detail, First: op.At.UTC()}
		o.list, o.known[key] = append(o.list, c), c
	}
	c.add(op)
	o.stale[c] = true
	if isNew || time.Since(o.written) > operationsEvery {
		o.write()
	}
}

// add counts one operation: when it begins, when it ends, or both at once.
func (c *OperationCount) add(op gat.Operation) {
	c.Last = op.At.UTC()
	if !op.Told {
		c.Count++
	}
	if op.Going {
		c.Open++
		return
	}
	if op.Told {
		c.Open--
	}
	c.Up, c.Down, c.Took = c.Up+op.Up, c.Down+op.Down, c.Took+op.Took.Seconds()
	if op.Err != nil {
		c.Failed++
		c.Error = shortened(oneLine(op.Err), operationError)
	}
	for _, id := range op.Jobs {
		if len(c.Jobs) < maxOperationJobs && !slices.Contains(c.Jobs, string(id)) {
			c.Jobs = append(c.Jobs, string(id))
		}
	}
}

// shortened cuts a text at n bytes.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}

// operationLine is the form of an entry in the file: the last one of a number counts.
type operationLine struct {
	V int `json:"v"`
	*OperationCount
}

// write writes down what changed. The lock is held.
func (o *operations) write() {
	o.written = time.Now()
	if o.err != nil || o.file == nil {
		return
	}
	if o.size > operationsSlack*2 {
		o.err = o.rewrite()
		return
	}
	changed := slices.SortedFunc(maps.Keys(o.stale), func(a, b *OperationCount) int { return a.Number - b.Number })
	n, err := o.file.Write(operationLines(changed))
	o.size += int64(n)
	if err != nil {
		o.err = fmt.Errorf("write operations: %w", err)
	}
	clear(o.stale)
}

// rewrite replaces the file by one with each entry once.
func (o *operations) rewrite() error {
	fresh := o.path + ".new"
	err := os.WriteFile(fresh, operationLines(o.list), 0o600)
	if err == nil {
		o.file.Close()
		err = os.Rename(fresh, o.path)
	}
	if err == nil {
		o.file, err = os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND, 0)
	}
	if err != nil {
		return fmt.Errorf("write operations: %w", err)
	}
	o.size = 0 // of what may soon be out of date
	clear(o.stale)
	return nil
}

func operationLines(list []*OperationCount) []byte {
	var b []byte
	for _, c := range list {
		line, err := json.Marshal(operationLine{1, c})
		if err != nil || len(line) > maxOperationLine {
			continue // cannot be: all its fields are bounded
		}
		b = append(append(b, line...), '\n')
	}
	return b
}

// all returns what was done, in order.
func (o *operations) all() []OperationCount {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]OperationCount, len(o.list))
	for i, c := range o.list {
		list[i] = *c
		list[i].Jobs = slices.Clone(c.Jobs)
	}
	return list
}

// flush writes down what is not yet.
func (o *operations) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write()
}

// close writes down the rest.
func (o *operations) close() error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return o.err
	}
	o.write()
	err := errors.Join(o.err, o.file.Close())
	o.file = nil
	return err
}

// readOperations reads the book of a run, also one that is being written. Lines
// that cannot be read are counted and passed over.
func readOperations(path string) (list []OperationCount, damaged int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read operations: %w", err)
	}
	defer f.Close()
	byNumber := make(map[int]OperationCount)
	damaged, err = eachLine(f, maxOperationsLog, maxOperationLine, func(line []byte) bool {
		var c OperationCount
		entry := operationLine{OperationCount: &c}
		if json.Unmarshal(line, &entry) != nil || entry.V != 1 || c.Number < 1 || c.Number > 2*maxOperations+MaxSites {
			return false
		}
		byNumber[c.Number] = c
		return true
	})
	if err != nil {
		err = fmt.Errorf("read operations %s: %w", path, err)
	}
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		list = append(list, byNumber[n])
	}
	return list, damaged, err
}

// eachLine gives the whole lines of a file to take, up to a size of the file, and
// counts those that are too long or that take refuses. A last line without an end
// belongs to somebody who is writing it, or who died then. A file that is larger is
// an error, once what is within the bound was read.
func eachLine(r io.Reader, size int64, longest int, take func(line []byte) bool) (damaged int, err error) {
	limited := &io.LimitedReader{R: r, N: size}
	br := bufio.NewReaderSize(limited, 64<<10)
	var line []byte
	for long := false; ; {
		part, err := br.ReadSlice('\n')
		if !long {
			line = append(line, part...)
		}
		if long = long || len(line) > longest+1; long {
			line = line[:0]
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && limited.N <= 0:
			return damaged, fmt.Errorf("it is larger than %s: what follows is not read", FormatSize(size))
		case err == io.EOF:
			return damaged, nil
		case err != nil:
			return damaged, err
		}
		if text := bytes.TrimSpace(line); long || len(text) > 0 && !take(text) {
			damaged++
		}
		line, long = line[:0], false
	}
}
