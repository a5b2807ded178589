package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pilot and guard talk in frames, orders over a stream socket and replies over a
// pipe: four bytes of length (of what follows), one of kind, then the fields as
// uvarints and length-prefixed strings. Both ends are the same program, so there
// is no version; a frame that does not parse is the end of the guard all the same.
//
//	pilot → guard   launch, with the descriptors of stdout, stderr and perhaps stdin
//	                kill, leave
//	guard → pilot   started or refused, then exited
//
// A worker that ends at once is told of by started and exited in one write.
type frameKind byte

const (
	frameLaunch  frameKind = iota + 1 // seq, flags, program, dir, argv, env
	frameKill                         // seq, grace in ns
	frameLeave                        // nothing: the pilot will clean up itself
	frameStarted                      // seq, pid
	frameRefused                      // seq, errno
	frameExited                       // seq, wait status, killed, swept, left, user ns, system ns, maxrss
)

const (
	frameHeader = 5
	withStdin   = 1 // flag of a launch
)

var errFrame = errors.New("malformed frame")

type launch struct {
	seq          uint64
	stdin        bool
	program, dir string
	argv, env    []string
}

type exited struct {
	seq          uint64
	status       uint64 // as of wait(2)
	killed       bool
	swept, left  uint64
	user, system uint64 // ns
	maxRSS       uint64 // bytes
}

// frame starts a frame; [seal] must end it.
func frame(b []byte, k frameKind) []byte { return append(b[:0], 0, 0, 0, 0, byte(k)) }

func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func numbers(b []byte, k frameKind, n ...uint64) []byte {
	b = frame(b, k)
	for _, v := range n {
		b = binary.AppendUvarint(b, v)
	}
	return seal(b)
}

func (l launch) append(b []byte) []byte {
	b = frame(b, frameLaunch)
	b = binary.AppendUvarint(b, l.seq)
	var flags uint64
	if l.stdin {
		flags = withStdin
	}
	b = binary.AppendUvarint(b, flags)
	b = appendString(b, l.program)
	b = appendString(b, l.dir)
	b = appendStrings(b, l.argv)
	b = appendStrings(b, l.env)
	return seal(b)
}

func (e exited) append(b []byte) []byte {
	var killed uint64
	if e.killed {
		killed = 1
	}
	return numbers(b, frameExited, e.seq, e.status, killed, e.swept, e.left, e.user, e.system, e.maxRSS)
}

// frameLen returns the length of the whole frame that b begins with, 0 if
// there is not enough of it to say.
func frameLen(b []byte) (int, error) {
	if len(b) < frameHeader {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(b)
	if n < 1 || n > maxFrame {
		return 0, fmt.Errorf("%w: length %d", errFrame, n)
	}
	return int(n) + 4, nil
}

// fields reads the body of a frame. After the first error everything is zero.
type fields struct {
	b   []byte
	err error
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.b, f.err = nil, errFrame
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) string() string {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.b, f.err = nil, errFrame
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}

func (f *fields) strings() []string {
	n := f.number()
	if n > uint64(len(f.b)) { // each takes a byte at least
		f.b, f.err = nil, errFrame
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = f.string()
	}
	return list
}

func (f *fields) launch() launch {
	return launch{
		seq:     f.number(),
		stdin:   f.number()&withStdin != 0,
		program: f.string(),
		dir:     f.string(),
		argv:    f.strings(),
		env:     f.strings(),
	}
}

// exited reads what follows the seq.
func (f *fields) exited(seq uint64) exited {
	return exited{
		seq:    seq,
		status: f.number(),
		killed: f.number() != 0,
		swept:  f.number(),
		left:   f.number(),
		user:   f.number(),
		system: f.number(),
		maxRSS: f.number(),
	}
}

func (e exited) exit() Exit {
	x := Exit{
		Killed: e.killed,
		Swept:  int(e.swept),
		Left:   int(e.left),
		User:   time.Duration(e.user),
		System: time.Duration(e.system),
		MaxRSS: int64(e.maxRSS),
	}
	switch ws := syscall.WaitStatus(e.status); {
	case ws.Signaled():
		x.Code, x.Signal = -1, ws.Signal()
		if x.SignalName = unix.SignalName(x.Signal); x.SignalName == "" {
			x.SignalName = "signal " + strconv.Itoa(int(x.Signal)) // a real-time one
		}
	default:
		x.Code = ws.ExitStatus()
	}
	return x
}
