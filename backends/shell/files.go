package shell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	sftpGreeting = 5 * time.Second  // for the subsystem to say its version
	sftpIdle     = 10 * time.Second // an idle subsystem is closed, for it takes a session
	stopGrace    = 2 * time.Second  // for a transfer to end by itself and clean up
)

// errNoSFTP says that files go through the shell.
var errNoSFTP = errors.New("the server has no usable sftp")

// transfers is a login's way to move files: sftp while it works.
type transfers struct {
	mu      sync.Mutex
	without bool // sftp was tried and does not work
	client  *sftp.Client
	channel io.Closer
	users   int
	idle    *time.Timer
}

// sftp returns the login's sftp client, starting it if there is none, and what
// to call when done with it.
func (l *Login) sftp(ctx context.Context) (*sftp.Client, func(), error) {
	t := &l.files
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.without {
		return nil, nil, errNoSFTP
	}
	if t.client == nil {
		if err := l.startSFTP(ctx); err != nil {
			return nil, nil, err
		}
	}
	if t.idle != nil {
		t.idle.Stop()
		t.idle = nil
	}
	t.users++
	client := t.client
	return client, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.users--; t.users == 0 && t.client == client {
			t.idle = time.AfterFunc(sftpIdle, func() { t.drop(client, true) })
		}
	}, nil
}

// drop forgets the client and closes its channel; with idle set, only when nobody uses it.
func (t *transfers) drop(client *sftp.Client, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == client && (!idle || t.users == 0) {
		t.channel.Close()
		t.client, t.channel, t.users = nil, nil, 0
	}
}

// startSFTP starts the subsystem. Start files that print spoil it, and then
// its greeting is garbage or does not come.
func (l *Login) startSFTP(ctx context.Context) error {
	return l.patiently(ctx, func() error {
		s, err := l.open(ctx)
		if err != nil {
			return err
		}
		over := make(chan struct{})
		go func() { // ends with the session, which Close of the login waits for
			s.Wait()
			l.release()
			close(over)
		}()
		client, err := greetSFTP(ctx, s)
		if err == nil {
			l.files.client, l.files.channel = client, s
			return nil
		}
		s.Close()
		if errors.Is(err, ErrRefused) {
			<-over // its slot is free
			return err
		}
		if lost := l.Lost(nil); lost != nil {
			return lost
		}
		if ctx.Err() != nil {
			return fmt.Errorf("start sftp: %w", context.Cause(ctx))
		}
		l.files.without = true
		return errNoSFTP
	})
}

// greetSFTP starts the subsystem in a session and hears its greeting.
func greetSFTP(ctx context.Context, s Session) (*sftp.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, sftpGreeting)
	defer cancel()
	unwatch := context.AfterFunc(ctx, func() { s.Close() })
	err := s.Subsystem("sftp")
	var client *sftp.Client
	if err == nil {
		go io.Copy(io.Discard, s.Stderr()) // ends with the session
		client, err = sftp.NewClientPipe(s, s, sftp.UseConcurrentWrites(true))
	}
	if !unwatch() && err == nil {
		err = ctx.Err()
	}
	return client, err
}

// Put writes a file in one step: under a temporary name beside it, with its mode
// from the start, then renamed. On failure the temporary file is removed.
func (l *Login) Put(ctx context.Context, name string, mode fs.FileMode, r io.Reader) error {
	if err := checkPath(name); err != nil {
		return l.Fault("put", err)
	}
	mode = mode.Perm()
	tmp := path.Join(path.Dir(name), ".zorilla-"+rand.Text())
	var client *sftp.Client
	var done func()
	err := errNoSFTP
	// Over sftp a file is made before its mode can be set. What is private
	// goes through the shell, which has a umask.
	if mode&0o077 != 0 {
		client, done, err = l.sftp(ctx)
	}
	switch {
	case err == nil:
		err = l.putSFTP(ctx, client, name, tmp, mode, r)
		done()
	case errors.Is(err, errNoSFTP):
		err = l.putShell(ctx, name, tmp, mode, r)
	}
	if err != nil {
		return l.Fault("put", fileError(name, err))
	}
	return nil
}

func (l *Login) putSFTP(ctx context.Context, c *sftp.Client, name, tmp string, mode fs.FileMode, r io.Reader) (err error) {
	defer l.bound(ctx, c)()
	f, err := c.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			err = diskFull(c, tmp, err)
			c.Remove(tmp)
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.ReadFrom(&bounded{ctx, r}); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if _, ok := c.HasExtension("posix-rename@openssh.com"); ok {
		return c.PosixRename(tmp, name)
	}
	if err = c.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.Rename(tmp, name)
}

// diskFull is err, or says that the disk is full when that is behind a failure
// that sftp has no better word for.
func diskFull(c *sftp.Client, name string, err error) error {
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok || status.FxCode() != sftp.ErrSSHFxFailure {
		return err
	}
	if _, ok := c.HasExtension("statvfs@openssh.com"); !ok {
		return err
	}
	if v, serr := c.StatVFS(path.Dir(name)); serr == nil && v.Bavail*v.Frsize < 64<<10 {
		return fmt.Errorf("no space left on the device: %w", err)
	}
	return err
}

// bound ends the use of c a little after ctx ends, even if the server stalls.
func (l *Login) bound(ctx context.Context, c *sftp.Client) (release func()) {
	finished := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-finished:
		case <-timer.C:
			l.files.drop(c, false)
		}
	})
	return func() {
		close(finished)
		unwatch()
	}
}

// bounded reads until ctx ends.
type bounded struct {
	ctx context.Context // of the call that reads
	r   io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.r.Read(p)
}

// putShell needs cat, chmod, mv and wc only. The end of input may mean that the
// connection broke, so the host does not rename before we agree on the length.
func (l *Login) putShell(ctx context.Context, name, tmp string, mode fs.FileMode, r io.Reader) (err error) {
	sent := &counting{r: &bounded{ctx, r}}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		l.sh(ctx, "rm -f "+Quote(tmp), nil) // what can be done was done
	}
	// A broken connection closes standard output too: then printf fails.
	body := fmt.Sprintf("LC_ALL=C; export LC_ALL; umask 077; t=%s\n"+
		`trap 'rm -f "$t"; exit 1' HUP INT TERM PIPE`+"\n"+
		`cat >"$t" && chmod %04o "$t" && n=$(wc -c <"$t") && printf '%%s\n' "$n" || { rm -f "$t"; exit 1; }`, Quote(tmp), mode)
	out, err := l.sh(ctx, body, sent)
	if err != nil {
		if _, ok := errors.AsType[*exitError](err); !ok {
			remove()
		}
		return err
	}
	if n, perr := strconv.ParseInt(strings.TrimSpace(out), 10, 64); perr != nil || n != sent.n {
		remove()
		return fmt.Errorf("%d bytes were sent, %q arrived", sent.n, Printable(strings.TrimSpace(out)))
	}
	body = fmt.Sprintf("LC_ALL=C; export LC_ALL; t=%s d=%s\n"+
		`if [ -d "$d" ]; then echo "Is a directory" >&2; rm -f "$t"; exit 1; fi`+"\n"+
		`mv -f "$t" "$d" || { rm -f "$t"; exit 1; }`, Quote(tmp), Quote(name))
	if _, err = l.sh(ctx, body, nil); err != nil {
		if _, ok := errors.AsType[*exitError](err); !ok {
			remove()
		}
	}
	return err
}

// counting counts what is read. Only one goroutine uses it at a time.
type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Get copies at most limit bytes of a file to w; all when limit is negative.
func (l *Login) Get(ctx context.Context, name string, w io.Writer, limit int64) error {
	if err := checkPath(name); err != nil {
		return l.Fault("get", err)
	}
	client, done, err := l.sftp(ctx)
	switch {
	case err == nil:
		err = l.getSFTP(ctx, client, name, w, limit)
		done()
	case errors.Is(err, errNoSFTP):
		err = l.getShell(ctx, name, w, limit)
	}
	if err != nil {
		return l.Fault("get", fileError(name, err))
	}
	return nil
}

func (l *Login) getSFTP(ctx context.Context, c *sftp.Client, name string, w io.Writer, limit int64) error {
	defer l.bound(ctx, c)()
	f, err := c.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return errors.New("is a directory")
	}
	_, err = f.WriteTo(&limited{ctx, w, limit})
	if err == errEnough {
		return nil
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// errEnough ends a copy that has all it may take.
var errEnough = errors.New("enough")

// limited writes at most left bytes, all when negative, until ctx ends.
type limited struct {
	ctx  context.Context // of the call that writes
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	if l.left < 0 {
		return l.w.Write(p)
	}
	part := p[:min(int64(len(p)), l.left)]
	n, err := l.w.Write(part)
	l.left -= int64(n)
	if err == nil && l.left == 0 {
		err = errEnough
	}
	return n, err
}

func (l *Login) getShell(ctx context.Context, name string, w io.Writer, limit int64) error {
	p, err := l.start(ctx, "", fmt.Sprintf("LC_ALL=C; export LC_ALL; exec cat <%s", Quote(name)))
	if err != nil {
		return err
	}
	defer p.Close()
	p.Stdin().Close()
	said := make(chan string, 1)
	stderr := p.Stderr()
	if !l.Spawn(func() {
		text, _ := io.ReadAll(io.LimitReader(stderr, 4096))
		said <- lastLine(text)
		io.Copy(io.Discard, stderr)
	}) {
		return l.Gone()
	}
	if limit == 0 {
		// Only whether the file can be read is of interest.
		w, limit = io.Discard, 1
	}
	_, err = io.Copy(&limited{ctx, w, limit}, p.Stdout())
	if err == errEnough {
		return nil
	}
	if err != nil {
		return err
	}
	status, err := p.Wait()
	if err != nil {
		return unclassified(err)
	}
	if status != 0 {
		return &exitError{status, <-said}
	}
	return nil
}

// Remove removes files, through the shell: that is one round trip for all.
func (l *Login) Remove(ctx context.Context, names ...string) error {
	for _, n := range names {
		if err := checkPath(n); err != nil {
			return l.Fault("remove", err)
		}
	}
	const most = 64 << 10 // bytes of one command's arguments
	for len(names) > 0 {
		n, size := 0, 0
		for n < len(names) && (n == 0 || size+len(names[n]) < most) {
			size += len(names[n]) + 8
			n++
		}
		if _, err := l.sh(ctx, "LC_ALL=C; export LC_ALL; rm -f "+quoteAll(names[:n]), nil); err != nil {
			return l.Fault("remove", fileError(names[0], err))
		}
		names = names[n:]
	}
	return nil
}

func checkPath(name string) error {
	if !path.IsAbs(name) || strings.IndexByte(name, 0) >= 0 {
		return Problem(gat.Invalid, "", fmt.Errorf("the path %q is not absolute", name))
	}
	return nil
}

// fileError classifies what a server or a shell says of a file.
func fileError(name string, err error) error {
	if _, ok := errors.AsType[*fault](err); ok {
		return err
	}
	text := strings.ToLower(err.Error())
	wrapped := fmt.Errorf("%s: %w", name, err)
	switch {
	case errors.Is(err, fs.ErrNotExist), strings.Contains(text, "no such file"), strings.Contains(text, "nonexistent"):
		return Problem(gat.NotFound, "", wrapped)
	case errors.Is(err, fs.ErrPermission), strings.Contains(text, "permission denied"), strings.Contains(text, "read-only file system"):
		return Problem(gat.Denied, "", wrapped)
	case strings.Contains(text, "no space left"), strings.Contains(text, "quota"), strings.Contains(text, "file too large"):
		return Problem(gat.Permanent, "the disk there is full: make room, or use another directory", wrapped)
	}
	return wrapped
}
