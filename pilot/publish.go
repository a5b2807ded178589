package pilot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of a file of hubs.
const (
	maxHubsFile     = 16 << 10 // bytes
	maxHubs         = 64
	publishTime     = 5 * time.Second // for files to be written; a network file system may take for ever
	resolvePatience = 5 * time.Second // for a host's name to become an address
)

// publish writes the addresses that this hub listens on into the files that
// pilots look them up in. It waits for a while only. Without an address the
// files stay as they are: they may be right again before long.
func (r *resident) publish(ctx context.Context) {
	r.mu.Lock()
	var text strings.Builder
	for _, l := range r.listeners {
		fmt.Fprintf(&text, "tcp:%s\n", l.Addr())
	}
	r.mu.Unlock()
	if text.Len() == 0 || len(r.boot.Publish) == 0 {
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		r.publishing.Lock() // so that the last one to begin is the last to write
		defer r.publishing.Unlock()
		for _, path := range r.boot.Publish {
			if err := replaceFile(path, []byte(text.String())); err != nil {
				r.log.Warn("addresses not published", "error", err)
			}
		}
	}()
	select {
	case <-written:
	case <-time.After(publishTime):
		r.log.Warn("publishing addresses takes long", "files", r.boot.Publish)
	case <-ctx.Done():
	}
}

// replaceFile writes a file of mode 0600 in the place of what is there. Its
// directory must exist: it is not this program's.
func replaceFile(path string, data []byte) (err error) {
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8])
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(part)
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// readHubs reads a file of hubs. Only one that nobody else could have written
// is believed, and lines that are no addresses are passed over.
func readHubs(path string) ([]string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow|openNoWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if uid, ok := ownerOf(info); !info.Mode().IsRegular() || ok && uid != os.Getuid() || canCheckMode && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s is not a file of ours alone (mode %04o)", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxHubsFile))
	if err != nil {
		return nil, err
	}
	var hubs []string
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan() && len(hubs) < maxHubs; {
		line := strings.TrimSpace(lines.Text())
		if network, _, err := splitAddress(line); err == nil && network == "tcp" && !slices.Contains(hubs, line) {
			hubs = append(hubs, line)
		}
	}
	return hubs, nil
}

// A hubList is the hubs that a pilot can call: at first those it was
// told of, later those that the file names, before the others.
type hubList struct {
	told []string
	file string

	mu  sync.Mutex
	now []string
}

// list returns the hubs in the order in which they are to be called.
func (h *hubList) list() []string {
	h.mu.Lock()
	known := h.now
	h.mu.Unlock()
	if known != nil {
		return known
	}
	if len(h.told) > 0 || h.file == "" {
		return h.told
	}
	h.look() //nolint:errcheck // it is looked into again
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// prefer makes a hub the first to be called.
func (h *hubList) prefer(hub string) {
	list := h.list()
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(list, hub); i > 0 {
		h.now = append([]string{hub}, slices.Delete(slices.Clone(list), i, i+1)...)
	}
}

// look reads the file again: no hub can be reached.
func (h *hubList) look() error {
	if h.file == "" {
		return nil
	}
	hubs, err := readHubs(h.file)
	if err != nil {
		return fmt.Errorf("file of hubs: %w", err)
	}
	for _, t := range h.told {
		if !slices.Contains(hubs, t) {
			hubs = append(hubs, t)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = hubs
	return nil
}

// toward returns the address of this host that it would call another from. It
// sends nothing.
func toward(ctx context.Context, host string) (netip.Addr, error) {
	ctx, stop := context.WithTimeout(ctx, resolvePatience)
	defer stop()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	var errs []error
	for _, ip := range ips {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), 9)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		conn.Close()
		return local, nil
	}
	return netip.Addr{}, fmt.Errorf("no way to %s: %w", host, errors.Join(errs...))
}

// listenAgain takes up the addresses that a hub before this one has published,
// as far as they are this host's: pilots call there.
func (r *resident) listenAgain(ctx context.Context) {
	for _, path := range r.boot.Publish {
		hubs, err := readHubs(path)
		if err != nil {
			continue
		}
		for _, h := range hubs {
			at, err := netip.ParseAddrPort(strings.TrimPrefix(h, "tcp:"))
			if err != nil {
				continue
			}
			if _, err := r.listen(at.String()); err != nil {
				r.log.Info("an address is not to be had again", "address", at, "error", err)
				if _, err := r.listen(at.Addr().String()); err != nil {
					r.log.Info("nor is another port of it", "address", at.Addr(), "error", err)
				}
			}
		}
		r.publish(ctx)
		return
	}
}

// abolish removes what a launcher that is gone for good has shared with the
// pilots of this site: the session's directories that published files lie in.
func (r *resident) abolish() {
	for _, path := range r.boot.Publish {
		dir := filepath.Dir(path)
		if filepath.Base(dir) != SessionDirName(r.boot.Session) || checkDir(dir) != nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			r.log.Warn("shared files not removed", "error", err)
		}
		if base := filepath.Dir(dir); filepath.Base(base) == BaseName(os.Getuid()) {
			os.Remove(base) // only when it is empty
		}
	}
}
