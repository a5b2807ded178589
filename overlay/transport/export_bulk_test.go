package transport

// Ask has a bulk stream make stripes as if the path called for them.
func (s *Stream) Ask(want int) { s.conn.(*flow).ask(want) }

// Stripes returns how many connections of its own a bulk stream has, and
// whether what it sends and what it gets is spread over them.
func (s *Stream) Stripes() (n int, sends, gets bool) {
	f := s.conn.(*flow)
	f.sending.Lock()
	defer f.sending.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stripes) - 1, f.spread != nil, f.gather != nil
}
