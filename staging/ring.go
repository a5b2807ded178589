package staging

// ring holds a window of a byte stream in memory: the bytes from start to end,
// each at its offset modulo the ring's length.
type ring struct {
	buf        []byte
	start, end int64 // offsets in the stream
}

// free returns memory for bytes from end on, in one piece; none when full.
func (r *ring) free() []byte {
	n := int64(len(r.buf))
	if r.end-r.start == n {
		return nil
	}
	from := r.end % n
	return r.buf[from:min(n, from+n-(r.end-r.start))]
}

// copyOut copies bytes from an offset on into p and returns how many.
func (r *ring) copyOut(p []byte, off int64) int {
	total := int(min(int64(len(p)), r.end-off))
	from := off % int64(len(r.buf))
	n := copy(p[:total], r.buf[from:])
	return n + copy(p[n:total], r.buf)
}

// grow doubles the ring, up to a limit; it reports whether it did.
func (r *ring) grow(limit int) bool {
	size := min(2*len(r.buf), limit)
	if size <= len(r.buf) {
		return false
	}
	buf := make([]byte, size)
	for off := r.start; off < r.end; {
		from := off % int64(len(r.buf))
		to := off % int64(size)
		n := min(r.end-off, int64(len(r.buf))-from, int64(size)-to)
		copy(buf[to:to+n], r.buf[from:from+n])
		off += n
	}
	r.buf = buf
	return true
}
