package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// Out is the output directory of a run:
//
//	worker-0/stdout      what rank 0 wrote, byte for byte
//	worker-0/stderr
//	worker-0/...         files collected from it
//	report.json          how the run went
type Out struct {
	Path string // absolute
	root *os.Root
	made bool // by us
}

// CreateOut makes the output directory at path, or ./zorilla-RUN if path is
// empty. A directory that exists must be empty: results of two runs are never
// mixed.
func CreateOut(path, run string) (*Out, error) {
	if path == "" {
		path = "zorilla-" + run
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	o := &Out{Path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(path, 0o777); err != nil {
			return nil, fmt.Errorf("output directory: %w", err)
		}
		o.made = true
	case err != nil:
		return nil, fmt.Errorf("output directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("output directory %s: is not a directory", path)
	default:
		if err := checkEmpty(path); err != nil {
			return nil, fmt.Errorf("output directory %s: %w", path, err)
		}
	}
	if o.root, err = os.OpenRoot(path); err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	return o, nil
}

func checkEmpty(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	switch _, err := d.Readdirnames(1); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	if _, err := os.Lstat(filepath.Join(path, "report.json")); err == nil {
		return errors.New("holds the results of an earlier run; remove it or give another --out")
	}
	return errors.New("is not empty; give another --out")
}

// WorkerName returns the name of a worker's directory within the output
// directory.
func WorkerName(rank int) string { return "worker-" + strconv.Itoa(rank) }

// Worker returns the directory of one worker; it is made if it does not exist.
// The caller closes it.
func (o *Out) Worker(rank int) (*os.Root, error) {
	name := WorkerName(rank)
	if err := o.root.Mkdir(name, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	r, err := o.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	return r, nil
}

// Create opens the file that takes one stream, "stdout" or "stderr", of a
// worker. What an earlier attempt wrote there is dropped.
func (o *Out) Create(rank int, stream string) (*os.File, error) {
	r, err := o.Worker(rank)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.OpenFile(stream, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	return f, nil
}

// WriteReport writes report.json in one step.
func (o *Out) WriteReport(r Report) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = o.writeFile("report.json", append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// WriteReceipt writes receipt.json and receipt.txt, each in one step.
func (o *Out) WriteReceipt(r Receipt) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = o.writeFile("receipt.json", append(data, '\n'))
	}
	if err == nil {
		err = o.writeFile("receipt.txt", []byte(r.Text()))
	}
	if err != nil {
		return fmt.Errorf("write receipt: %w", err)
	}
	return nil
}

// writeFile writes a file in one step.
func (o *Out) writeFile(name string, data []byte) error {
	part := "." + name + ".part"
	if err := o.root.WriteFile(part, data, 0o666); err != nil {
		o.root.Remove(part)
		return err
	}
	return o.root.Rename(part, name)
}

// Discard removes the directory again if nothing was put there and it was made by CreateOut.
// It is for runs that were refused before they began.
func (o *Out) Discard() {
	if o.made {
		os.Remove(o.Path)
	}
}

// Close ends the use of the directory.
func (o *Out) Close() error { return o.root.Close() }
