package ssh

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// refusalTime is how long a question that came to nothing is not put again: the
// other logins that wait for its answer are answered by it.
const refusalTime = time.Minute

// Shared is what the logins of one session share, over all its sites: the keys
// that the user has unlocked and the host keys that the user has decided about, so
// that each is asked for once; and the doors of servers, where they take turns.
// Secrets are in memory only. It is safe for concurrent use.
type Shared struct {
	mu    sync.Mutex
	keys  map[string]*key      // encrypted key files by their digest
	hosts map[string]*decision // by name and key
	doors map[string]*door     // by address
}

// NewShared returns an empty Shared.
func NewShared() *Shared {
	return &Shared{keys: make(map[string]*key), hosts: make(map[string]*decision), doors: make(map[string]*door)}
}

// locked returns the key of an encrypted file, the same one for all logins.
func (s *Shared) locked(path string, text []byte, read func() *key) *key {
	sum := sha256.Sum256(text)
	id := string(sum[:]) + path
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[id]
	if k == nil {
		k = read()
		s.keys[id] = k
	}
	return k
}

// host returns what was decided about a host key.
func (s *Shared) host(name string, key string) *decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := name + " " + key
	d := s.hosts[id]
	if d == nil {
		d = &decision{turn: newTurn()}
		s.hosts[id] = d
	}
	return d
}

// A decision is what the user said to an unknown host key. Its fields belong to who has
// the turn.
type decision struct {
	turn
	trusted bool      // also where no file remembers it
	refused error     // why it is not trusted
	at      time.Time // of refused
}

// A turn is held by the one login that asks the user something, while others that
// want to know the same wait.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn until ctx ends. The wait is the user's time.
func (t turn) take(ctx context.Context, clock *alarm, pause func(context.Context, func())) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	defer clock.pause()()
	var err error
	wait := func() {
		select {
		case t <- struct{}{}:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if pause == nil {
		wait()
	} else {
		pause(ctx, wait)
	}
	return err
}

func (t turn) give() { <-t }
