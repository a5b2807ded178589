package launcher

import (
	"sync"
	"time"
)

// An emitter tells a run's events to its journal and its user, in order, on a
// goroutine of its own: nobody but who brings output waits for a slow user.
type emitter struct {
	run     string
	journal *Journal
	user    func(Event)

	mu    sync.Mutex
	queue []told
	wake  chan struct{} // takes one value
	over  chan struct{} // closed by close
	done  chan struct{} // closed when everything was told
}

type told struct {
	event Event
	heard chan struct{} // closed once the user has heard it; may be nil
}

func newEmitter(run string, journal *Journal, user func(Event)) *emitter {
	if user == nil {
		user = func(Event) {}
	}
	e := &emitter{run: run, journal: journal, user: user,
		wake: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{})}
	go e.tell()
	return e
}

// emit queues an event.
func (e *emitter) emit(d EventData) { e.put(told{event: Event{Time: time.Now(), Run: e.run, Data: d}}) }

// output tells a piece of output and waits until it was heard.
func (e *emitter) output(d OutputWritten) {
	heard := make(chan struct{})
	e.put(told{event: Event{Time: time.Now(), Run: e.run, Data: d}, heard: heard})
	select {
	case <-heard:
	case <-e.done:
	}
}

func (e *emitter) put(t told) {
	e.mu.Lock()
	e.queue = append(e.queue, t)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *emitter) tell() {
	defer close(e.done)
	for {
		over := false
		select {
		case <-e.wake:
		case <-e.over:
			over = true
		}
		e.mu.Lock()
		list := e.queue
		e.queue = nil
		e.mu.Unlock()
		for _, t := range list {
			e.journal.Write(t.event) // its error was told with the first event that could not be written
			e.user(t.event)
			if t.heard != nil {
				close(t.heard)
			}
		}
		if over {
			return
		}
	}
}

// close tells what is queued and ends.
func (e *emitter) close() {
	close(e.over)
	<-e.done
}
