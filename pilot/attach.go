package pilot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long a bridge waits for an agent that does not answer.
const (
	attachPatience  = 15 * time.Second // for its socket to appear; whoever runs the bridge waits longer for a first word
	refusedPatience = time.Second      // for a socket that is there to be listened on, its agent may just be starting, and for its directory
)

// ExitNoAgent is the exit status of a bridge that finds no agent to answer: EX_UNAVAILABLE
// of sysexits(3), which no shell uses for a reason of its own.
const ExitNoAgent = 69

// errNoAgent matches errors that say that nobody listens on an agent's socket.
var errNoAgent = errors.New("no agent answers")

// attach is a bridge between standard input and output and an agent's socket.
// It ends when the agent hangs up, or when its input ends and the agent is
// done answering.
func attach(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	conn, err := dialPatiently(ctx, socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	niceAs(conn)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{in}, make([]byte, 256<<10))
		if err != nil {
			conn.Close()
			return
		}
		conn.CloseWrite()
	}()
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("attach: %w", err)
	}
	return nil
}

// dialPatiently connects to a unix socket that may not be there yet.
func dialPatiently(ctx context.Context, socket string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, attachPatience)
	defer cancel()
	wait := 2 * time.Millisecond
	var refused time.Time // since when
	for {
		conn, err := dialUnix(ctx, socket)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !isRefused(err) {
			return nil, fmt.Errorf("attach: %w", err)
		}
		if !isRefused(err) && isDir(filepath.Dir(socket)) {
			refused = time.Time{}
		} else if refused.IsZero() {
			refused = time.Now()
		} else if time.Since(refused) > refusedPatience {
			return nil, fmt.Errorf("attach: %w on %s: %w", errNoAgent, socket, err)
		}
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("attach: %w on %s: %w", errNoAgent, socket, err)
		}
		wait = min(wait*3/2, 200*time.Millisecond)
	}
}

// isDir reports whether there is a directory. That of a session is made before an
// agent of it is looked for, and a reboot may take it away.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
