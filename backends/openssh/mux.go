package openssh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The messages of the protocol between ssh processes that share a connection, as
// OpenSSH's PROTOCOL.mux numbers them. Version 4 has been in use since OpenSSH 5.4.
const (
	muxVersion = 4

	muxHello      = 0x00000001
	muxNewSession = 0x10000002
	muxAliveCheck = 0x10000004
	muxNewStdio   = 0x10000008

	muxDenied  = 0x80000002
	muxFailure = 0x80000003
	muxExit    = 0x80000004
	muxAlive   = 0x80000005
	muxOpened  = 0x80000006

	// muxUnix as a port says that the host is the path of a unix socket (OpenSSH's PORT_STREAMLOCAL).
	muxUnix = 0xfffffffe

	maxPacket = 256 << 10       // bytes of a message
	localTime = 5 * time.Second // for a process of this machine to answer
)

// errMuxGone says that a master does not answer, or not in its protocol.
var errMuxGone = errors.New("the shared connection's socket does not answer")

// A refusal is a master's or a server's word that it does not do what it was asked.
type refusal struct {
	denied bool // by the master; else by the server
	reason string
}

func (r *refusal) Error() string { return r.reason }

// mux is a conversation with a master: one session, one forwarding or nothing.
type mux struct {
	conn *net.UnixConn
}

// dialMux connects to a master and greets it.
func dialMux(ctx context.Context, path string) (*mux, error) {
	conn, err := (&net.Dialer{Timeout: localTime}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	m := &mux{conn.(*net.UnixConn)}
	m.conn.SetDeadline(time.Now().Add(localTime))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err = m.send(muxHello, uint32(muxVersion)); err == nil {
		var kind uint32
		var body fields
		if kind, body, err = m.receive(); err == nil {
			if version := body.number(); kind != muxHello || version != muxVersion {
				err = fmt.Errorf("%w in version %d of the protocol", errMuxGone, muxVersion)
			}
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	m.conn.SetDeadline(time.Time{})
	return m, nil
}

// alive asks the master for a sign of life.
func (m *mux) alive() error {
	m.conn.SetDeadline(time.Now().Add(localTime))
	defer m.conn.SetDeadline(time.Time{})
	if err := m.send(muxAliveCheck, uint32(1)); err != nil {
		return err
	}
	kind, _, err := m.receive()
	if err == nil && kind != muxAlive {
		err = errMuxGone
	}
	return err
}

// opened waits for the answer to a request for a session or a forwarding.
func (m *mux) opened() error {
	kind, body, err := m.receive()
	if err != nil {
		return err
	}
	body.number() // the request's
	switch kind {
	case muxOpened:
		return nil
	case muxDenied, muxFailure:
		return &refusal{kind == muxDenied, body.text()}
	}
	return errMuxGone
}

// send writes a message of numbers and texts.
func (m *mux) send(kind uint32, values ...any) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 256), kind)
	for _, v := range values {
		switch v := v.(type) {
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case string:
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := m.conn.Write(b)
	return err
}

// receive reads a message.
func (m *mux) receive() (kind uint32, body fields, err error) {
	var head [4]byte
	if _, err := io.ReadFull(m.conn, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > maxPacket {
		return 0, nil, errMuxGone
	}
	body = make(fields, n)
	if _, err := io.ReadFull(m.conn, body); err != nil {
		return 0, nil, err
	}
	kind = body.number()
	return kind, body, nil
}

// fields are what is left of a message. What is missing reads as zero.
type fields []byte

func (f *fields) number() uint32 {
	if len(*f) < 4 {
		*f = nil
		return 0
	}
	n := binary.BigEndian.Uint32(*f)
	*f = (*f)[4:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	n = min(n, uint32(len(*f)))
	s := string((*f)[:n])
	*f = (*f)[n:]
	return s
}
