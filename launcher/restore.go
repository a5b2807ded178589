package launcher

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// restore prepares a host again if what was put there is gone, as it is from a
// scratch directory that a reboot empties. It does so once: where scratch is
// emptied under our feet nothing can be relied on.
func (r *siteRun) restore(ctx context.Context, h *host) error {
	if r.site.Local() {
		return nil
	}
	h.restoring.Lock()
	defer h.restoring.Unlock()
	there, err := h.equipped(ctx, r.s.id)
	if err != nil || there {
		return err
	}
	if h.restored {
		return fmt.Errorf("site %s: what was put on %s is gone again (%s is emptied?): %s", h.name, h.Host, h.Base, scratchHint)
	}
	h.restored = true
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("what was put on %s is gone, as after a reboot; preparing it again", h.Host)})
	// Others read what is known of h: it must stay as it is.
	again := &host{name: h.name, behind: h.behind, gat: h.gat}
	if err := r.lookAt(ctx, again, h.scratch); err != nil {
		return err
	}
	store := again
	if h.store != nil {
		store = &host{name: h.name, gat: h.gat}
		if err := r.lookAt(ctx, store, h.store.scratch); err != nil {
			return err
		}
	}
	if err := r.bring(ctx, store, path.Dir(h.binary) == store.Base); err != nil {
		return err
	}
	again.binary = store.binary
	if again.binary != h.binary {
		return fmt.Errorf("site %s: the pilot was at %s and is now at %s: not going on there", h.name, h.binary, again.binary)
	}
	return nil
}

// equipped reports whether the session's directory and the pilot binary are
// still there.
func (h *host) equipped(ctx context.Context, session wire.SessionID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := h.script(ctx, `[ -d "$1" ] && [ -x "$2" ] && echo there; echo end`, nil, h.sessionDir(session), h.binary)
	if err != nil {
		return false, fmt.Errorf("site %s: look at the host: %w", h.name, err)
	}
	if !strings.HasSuffix(string(out), "end\n") {
		return false, fmt.Errorf("site %s: look at the host: unexpected answer %q", h.name, firstLine(out))
	}
	return strings.HasPrefix(string(out), "there"), nil
}
