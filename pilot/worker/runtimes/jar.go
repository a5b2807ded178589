package runtimes

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// What is read of a jar at most. An archive can claim and hide a lot; these
// keep a hostile one from costing more than a moment.
const (
	jarTail     = 1 << 16   // bytes searched for the end record, its comment's limit
	jarDir      = 128 << 20 // bytes of central directory
	jarEntries  = 1 << 18   // entries
	jarManifest = 1 << 20   // bytes of manifest, unpacked
	classHeader = 8         // bytes of a class file that tell its version
)

const (
	oldestMajor = 45  // class files of Java 1.1
	newestMajor = 200 // beyond that it is no class file
)

// inspectJar reads the manifest and the head of every class.
func inspectJar(r io.ReaderAt, size int64) (App, error) {
	if err := checkDirectory(r, size); err != nil {
		return App{}, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return App{}, fmt.Errorf("%w: %w; copy or build it again", ErrBadJar, err)
	}
	if len(z.File) > jarEntries {
		return App{}, fmt.Errorf("%w: %d entries, at most %d are read", ErrBadJar, len(z.File), jarEntries)
	}
	app := App{Kind: JVM}
	manifest := false
	for _, f := range z.File {
		switch {
		case strings.EqualFold(f.Name, "META-INF/MANIFEST.MF"):
			if manifest {
				continue // java takes the first
			}
			manifest = true
			if app.MainClass, err = mainClass(f); err != nil {
				return App{}, err
			}
		case countsForVersion(f.Name):
			java, err := classVersion(f)
			if err != nil {
				return App{}, err
			}
			app.Java = max(app.Java, java)
		}
	}
	if !manifest {
		return App{}, fmt.Errorf("%w: it has no manifest; if it is one, build it with jar --create --main-class CLASS", ErrNoMain)
	}
	if app.MainClass == "" {
		return App{}, fmt.Errorf("%w: its manifest has no Main-Class; add it with jar --update --main-class CLASS --file APP", ErrNoMain)
	}
	return app, nil
}

// countsForVersion leaves out what an older Java does not load: classes for
// newer versions of a multi-release jar, and module descriptors.
func countsForVersion(name string) bool {
	return strings.HasSuffix(name, ".class") &&
		!strings.HasPrefix(name, "META-INF/") &&
		name != "module-info.class" && !strings.HasSuffix(name, "/module-info.class")
}

// classVersion returns the Java that a class needs, 0 for a file that is no
// class in spite of its name.
func classVersion(f *zip.File) (int, error) {
	rc, err := f.Open()
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrBadJar, f.Name, err)
	}
	defer rc.Close()
	var head [classHeader]byte
	if _, err := io.ReadFull(rc, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && f.UncompressedSize64 < classHeader {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: %s: %w", ErrBadJar, f.Name, err)
	}
	major := int(binary.BigEndian.Uint16(head[6:]))
	if binary.BigEndian.Uint32(head[:]) != 0xcafebabe || major < oldestMajor || major > newestMajor {
		return 0, nil
	}
	return max(8, major-44), nil // nobody has an older Java than 8
}

// mainClass reads the main section of a manifest.
func mainClass(f *zip.File) (string, error) {
	rc, err := f.Open()
	if err != nil {
		return "", fmt.Errorf("%w: manifest: %w", ErrBadJar, err)
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, jarManifest+1))
	if err != nil {
		return "", fmt.Errorf("%w: manifest: %w", ErrBadJar, err)
	}
	if len(b) > jarManifest {
		return "", fmt.Errorf("%w: its manifest is longer than %d bytes", ErrBadJar, jarManifest)
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
	b, _, _ = bytes.Cut(b, []byte("\n\n"))      // the first section is the jar's
	b = bytes.ReplaceAll(b, []byte("\n "), nil) // long lines are continued
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(key, "Main-Class") {
			name := strings.TrimSpace(value)
			if strings.ContainsAny(name, " \t\x00/;[") || strings.HasPrefix(name, "-") {
				return "", fmt.Errorf("%w: Main-Class %.80q is not the name of a class", ErrNoMain, name)
			}
			return name, nil
		}
	}
	return "", nil
}

// jarAtEnd reports whether a zip archive ends here, whatever it begins with.
func jarAtEnd(r io.ReaderAt, size int64) bool {
	_, _, err := endRecord(r, size)
	return err == nil
}

var errNoEnd = errors.New("its end is missing, as after an interrupted copy")

// endRecord returns the end-of-central-directory record and its place.
func endRecord(r io.ReaderAt, size int64) (end []byte, at int64, err error) {
	const length = 22
	if size < length {
		return nil, 0, errNoEnd
	}
	tail := make([]byte, min(size, jarTail+length))
	start := size - int64(len(tail))
	if n, err := r.ReadAt(tail, start); n < len(tail) {
		return nil, 0, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	for i := len(tail) - length; i >= 0; i-- {
		if string(tail[i:i+4]) == "PK\x05\x06" && i+length+int(binary.LittleEndian.Uint16(tail[i+20:])) <= len(tail) {
			return tail[i : i+length], start + int64(i), nil
		}
	}
	return nil, 0, errNoEnd
}

// checkDirectory refuses an archive before its directory is read into memory.
func checkDirectory(r io.ReaderAt, size int64) error {
	end, at, err := endRecord(r, size)
	if errors.Is(err, errNoEnd) {
		return fmt.Errorf("%w: %w; copy or build it again", ErrBadJar, err)
	}
	if err != nil {
		return err
	}
	length := uint64(binary.LittleEndian.Uint32(end[12:]))
	if l, ok := length64(r, at); ok {
		length = l
	}
	if length > uint64(size) {
		return fmt.Errorf("%w: its directory is longer than the file; copy or build it again", ErrBadJar)
	}
	if length > jarDir {
		return fmt.Errorf("%w: its directory has %d bytes, at most %d are read", ErrBadJar, length, jarDir)
	}
	return nil
}

// length64 returns the length of the directory of an archive in the 64-bit
// format, whose own end record is found through a locator before the end.
func length64(r io.ReaderAt, end int64) (uint64, bool) {
	var locator [20]byte
	if end < int64(len(locator)) {
		return 0, false
	}
	if _, err := r.ReadAt(locator[:], end-int64(len(locator))); err != nil || string(locator[:4]) != "PK\x06\x07" {
		return 0, false
	}
	var record [56]byte
	at := binary.LittleEndian.Uint64(locator[8:])
	if at > uint64(end) {
		return 0, false
	}
	if _, err := r.ReadAt(record[:], int64(at)); err != nil || string(record[:4]) != "PK\x06\x06" {
		return 0, false
	}
	return binary.LittleEndian.Uint64(record[40:]), true
}
