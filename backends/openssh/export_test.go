package openssh

import (
	"context"
	"net/url"

	"github.com/zorilla-grid/zorilla/gat"
)

// Socket is where the master of a login listens, and whether it is one of ours.
func Socket(l gat.Login) (path string, own bool) {
	n := l.(*login).line
	return n.path, n.own != nil
}

// Explain is explain for a destination.
func Explain(said, destination string, asked bool) error {
	u, err := url.Parse("openssh://" + destination)
	if err != nil {
		return err
	}
	to, err := parseURL(u)
	if err != nil {
		return err
	}
	return explain(said, to, asked)
}

// Talk has a whole conversation with a master, for the fuzzer.
func Talk(ctx context.Context, path string) error {
	m, err := dialMux(ctx, path)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	if err := m.alive(); err != nil {
		return err
	}
	return m.opened()
}
