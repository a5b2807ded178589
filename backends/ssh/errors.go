package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// errTimeout says that one step took longer than its bound; the step's name
// is in the error that wraps it.
var errTimeout = errors.New("timed out")

// problem gives err a class and a hint, which may be empty.
func problem(class gat.Class, hint string, err error) error { return shell.Problem(class, hint, err) }

// classified makes err the [gat.Error] of an operation.
func classified(op, url string, err error) error { return shell.Classified(op, url, err) }

// broken reports whether err says that the connection is gone.
func broken(err error) bool { return shell.Broken(err) }

// printable makes text from elsewhere fit to show.
func printable(s string) string { return shell.Printable(s) }

// quote makes s one word for a POSIX shell.
func quote(s string) string { return shell.Quote(s) }

// dialError says why no connection to e could be made.
func dialError(ctx context.Context, e endpoint, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connect to %s: %w", e.addr(), context.Cause(ctx))
	}
	at := "connect to " + e.addr()
	port := fmt.Sprintf("is %s the right port, and does an SSH server run there?", e.port)
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return problem(gat.NotFound, "check the spelling of the host's name",
				fmt.Errorf("%s: the name %s does not resolve: %w", at, e.host, err))
		}
		return problem(gat.Transient, "the name server did not answer", fmt.Errorf("%s: %w", at, err))
	}
	if open, ok := errors.AsType[*gossh.OpenChannelError](err); ok {
		return forwardError(e, open)
	}
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		timeout = true
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return problem(gat.Transient, port, fmt.Errorf("%s: connection refused: %w", at, err))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return problem(gat.Transient, "is this machine on the right network or VPN?", fmt.Errorf("%s: no route to the host: %w", at, err))
	case timeout:
		return problem(gat.Transient, "is the host up, and does a firewall drop port "+e.port+"?", fmt.Errorf("%s: %w: %w", at, errTimeout, err))
	}
	return problem(gat.Transient, "", fmt.Errorf("%s: %w", at, err))
}

// forwardError says why a server would not connect to e for us.
func forwardError(e endpoint, err *gossh.OpenChannelError) error {
	msg := strings.ToLower(err.Message)
	at := "connect to " + e.addr()
	switch {
	case err.Reason == gossh.Prohibited || err.Reason == gossh.UnknownChannelType:
		return problem(gat.Denied, "its sshd_config says AllowTcpForwarding no or PermitOpen",
			fmt.Errorf("%s: %w: %w", at, gat.ErrForwarding, err))
	case strings.Contains(msg, "not known") || strings.Contains(msg, "no address") || strings.Contains(msg, "resolve"):
		return problem(gat.NotFound, "the name must be known on the host in between",
			fmt.Errorf("the name %s does not resolve there: %w", e.host, err))
	case strings.Contains(msg, "name resolution"):
		return problem(gat.Transient, "the name must be known on the host in between, whose name server did not answer",
			fmt.Errorf("the name %s does not resolve there: %w", e.host, err))
	case strings.Contains(msg, "refused"):
		return problem(gat.Transient, fmt.Sprintf("is %s the right port, and does an SSH server run there?", e.port),
			fmt.Errorf("%s: connection refused: %w", at, err))
	}
	return problem(gat.Transient, "", fmt.Errorf("%s: %w", at, err))
}

// greetError says why no secure channel came about on an open connection.
func greetError(ctx context.Context, h *hop, timedOut bool, err error) error {
	at := "greet " + h.addr()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", at, context.Cause(ctx))
	}
	if timedOut {
		return problem(gat.Transient, "something accepts connections there and says nothing: the host may be overloaded, or it is no SSH server",
			fmt.Errorf("%s: no SSH greeting and key exchange in time: %w", at, errTimeout))
	}
	if neg, ok := errors.AsType[*gossh.AlgorithmNegotiationError](err); ok {
		return problem(gat.Permanent, allowing(h.written.host, neg), fmt.Errorf("%s: %w", at, err))
	}
	msg := err.Error()
	switch {
	case strings.Contains(msg, "overflow reading version string"), strings.Contains(msg, "invalid characters in version"),
		strings.Contains(msg, "first packet should be msgKexInit"), strings.Contains(msg, "max packet length"), strings.Contains(msg, "invalid packet length"):
		return problem(gat.Permanent, fmt.Sprintf("is %s the right port?", h.port), fmt.Errorf("%s: what answers is no SSH server: %w", at, err))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return problem(gat.Transient, "the server may limit connections (MaxStartups) or refuse this address", fmt.Errorf("%s: %w: %w", at, errNotGreeted, err))
	}
	return problem(gat.Transient, "", fmt.Errorf("%s: %w", at, err))
}

// errNotGreeted says that a server hung up on us before anything else.
var errNotGreeted = errors.New("the connection was closed")
