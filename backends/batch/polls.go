package batch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// memory is the [gat.Polls] of one login.
type memory struct {
	mu   sync.Mutex
	asks map[string]*asked
}

// asked is one query.
type asked struct {
	turn   chan struct{} // holds a token while nobody asks
	when   time.Time     // of the last answer or error
	answer []byte
	err    error
}

// maxQueries bounds the queries remembered; there are as many as clusters.
const maxQueries = 64

func (m *memory) Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error) {
	m.mu.Lock()
	a := m.asks[key]
	if a == nil {
		if m.asks == nil || len(m.asks) >= maxQueries {
			m.asks = make(map[string]*asked)
		}
		a = &asked{turn: make(chan struct{}, 1)}
		a.turn <- struct{}{}
		m.asks[key] = a
	}
	m.mu.Unlock()
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	if a.when.IsZero() || time.Since(a.when) >= every {
		when := time.Now()
		answer, err := ask(ctx)
		if err != nil && (ctx.Err() != nil || errors.Is(err, gat.ErrClosed)) {
			return nil, time.Time{}, err // says nothing of the site
		}
		a.when, a.answer, a.err = when, answer, err
	}
	return a.answer, a.when, a.err
}
