package flood

import (
	"cmp"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a Board.
const (
	MaxOpen   = 1024 // adverts
	MaxOwn    = 256  // of them of one primary
	MaxClosed = 1024 // tombstones; the oldest give way
)

// Board holds the newest advert of every job that a node knows to be open, and
// tombstones of closed ones. The zero Board is empty.
type Board struct {
	posts  []post // by age of the job, oldest first
	closed []tomb // a ring once it is full
	oldest int    // of closed, when it is full
	order  uint64 // the latest Order seen
}

type post struct {
	ad      *wire.Advert
	expires time.Duration
}

type tomb struct {
	job   wire.JobID
	epoch uint32
}

// Post takes an advert and reports whether it is news, to be passed on. An
// advert that is not renewed within its job's lease is forgotten.
func (b *Board) Post(now time.Duration, ad *wire.Advert) bool {
	b.order = max(b.order, ad.Order)
	if b.Closed(ad.Job) {
		return false
	}
	p := post{ad, now + ad.Lease}
	if i := b.index(ad.Job); i >= 0 {
		old := b.posts[i].ad
		if cmp.Or(cmp.Compare(ad.Epoch, old.Epoch), cmp.Compare(ad.Seq, old.Seq)) <= 0 {
			return false
		}
		b.posts = slices.Delete(b.posts, i, i+1)
	} else if len(b.posts) >= MaxOpen || b.of(ad.Primary) >= MaxOwn {
		return false
	}
	i, _ := slices.BinarySearchFunc(b.posts, p, func(x, y post) int { return Older(x.ad, y.ad) })
	b.posts = slices.Insert(b.posts, i, p)
	return true
}

// Older orders adverts by the age of their jobs: negative when a's is older.
func Older(a, b *wire.Advert) int {
	return cmp.Or(cmp.Compare(a.Order, b.Order), a.Job.Compare(b.Job))
}

// Close replaces a job's advert by a tombstone, and reports whether that is
// news.
func (b *Board) Close(job wire.JobID, epoch uint32) bool {
	if b.Closed(job) {
		return false
	}
	if i := b.index(job); i >= 0 {
		b.posts = slices.Delete(b.posts, i, i+1)
	}
	if len(b.closed) < MaxClosed {
		b.closed = append(b.closed, tomb{job, epoch})
	} else {
		b.closed[b.oldest] = tomb{job, epoch}
		b.oldest = (b.oldest + 1) % MaxClosed
	}
	return true
}

// Closed reports whether there is a tombstone for a job.
func (b *Board) Closed(job wire.JobID) bool {
	return slices.ContainsFunc(b.closed, func(t tomb) bool { return t.job == job })
}

// Advert returns a job's newest advert, or nil.
func (b *Board) Advert(job wire.JobID) *wire.Advert {
	if i := b.index(job); i >= 0 {
		return b.posts[i].ad
	}
	return nil
}

// All returns every advert, the oldest job's first.
func (b *Board) All() []*wire.Advert {
	list := make([]*wire.Advert, len(b.posts))
	for i, p := range b.posts {
		list[i] = p.ad
	}
	return list
}

// Open returns at most max adverts that want workers, the oldest job's first.
func (b *Board) Open(max int) []*wire.Advert {
	var list []*wire.Advert
	for _, p := range b.posts {
		if p.ad.Open > 0 && len(list) < max {
			list = append(list, p.ad)
		}
	}
	return list
}

// Len returns how many jobs are known to be open.
func (b *Board) Len() int { return len(b.posts) }

// NextOrder returns the Order for a job submitted now: later than all the
// node has heard of.
func (b *Board) NextOrder() uint64 {
	b.order++
	return b.order
}

// Expire forgets the adverts that were not renewed, and returns them.
func (b *Board) Expire(now time.Duration) []*wire.Advert {
	var gone []*wire.Advert
	b.posts = slices.DeleteFunc(b.posts, func(p post) bool {
		if p.expires > now {
			return false
		}
		gone = append(gone, p.ad)
		return true
	})
	return gone
}

// Next returns when Expire is wanted; false means never.
func (b *Board) Next() (time.Duration, bool) {
	if len(b.posts) == 0 {
		return 0, false
	}
	next := b.posts[0].expires
	for _, p := range b.posts[1:] {
		next = min(next, p.expires)
	}
	return next, true
}

// of counts the adverts of a primary.
func (b *Board) of(primary wire.NodeID) int {
	n := 0
	for _, p := range b.posts {
		if p.ad.Primary == primary {
			n++
		}
	}
	return n
}

func (b *Board) index(job wire.JobID) int {
	return slices.IndexFunc(b.posts, func(p post) bool { return p.ad.Job == job })
}
