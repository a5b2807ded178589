//go:build !linux

package transport

import "syscall"

// sharePort does nothing: a port is for one socket.
func sharePort(string, string, syscall.RawConn) error { return nil }

const sharesPorts = false
