package worker

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// proc is one process as /proc shows it.
type proc struct {
	pid, ppid, session int
	zombie             bool
	start              uint64 // ticks after boot: with pid it names the process
}

type procKey struct {
	pid   int
	start uint64
}

func (p proc) key() procKey { return procKey{p.pid, p.start} }

// processes lists all processes that can be seen.
func processes() ([]proc, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := make([]proc, 0, len(names))
	buf := make([]byte, 1024)
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if p, ok := readProc(pid, buf); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

func readProc(pid int, buf []byte) (proc, bool) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	defer f.Close()
	n, err := f.Read(buf)
	if err != nil {
		return proc{}, false
	}
	return parseStat(pid, buf[:n])
}

// parseStat reads the fields that follow the command name, which itself may
// contain anything.
func parseStat(pid int, b []byte) (proc, bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return proc{}, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 || len(f[0]) == 0 {
		return proc{}, false
	}
	p := proc{pid: pid, zombie: f[0][0] == 'Z' || f[0][0] == 'X'}
	var e1, e2, e3 error
	p.ppid, e1 = strconv.Atoi(string(f[1]))
	p.session, e2 = strconv.Atoi(string(f[3]))
	p.start, e3 = strconv.ParseUint(string(f[19]), 10, 64)
	return p, e1 == nil && e2 == nil && e3 == nil
}

// below returns the living processes that descend from those for which root
// holds; with self, also those themselves. Zombies are left out: they cannot
// be killed, and whoever must reap them may never do so.
func below(all []proc, root func(proc) bool, self bool) []proc {
	children := make(map[int][]proc, len(all))
	var queue, found []proc
	for _, p := range all {
		children[p.ppid] = append(children[p.ppid], p)
		if root(p) {
			queue = append(queue, p)
			if self && !p.zombie {
				found = append(found, p)
			}
		}
	}
	seen := make(map[int]bool, len(queue))
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[p.pid] {
			continue
		}
		seen[p.pid] = true
		for _, c := range children[p.pid] {
			if seen[c.pid] || root(c) && self {
				continue
			}
			queue = append(queue, c)
			if !c.zombie {
				found = append(found, c)
			}
		}
	}
	return found
}

// killer ends a changing set of processes: it stops all before it kills any,
// so that none can replace itself meanwhile.
type killer struct {
	list   func() ([]proc, error)
	killed map[procKey]bool
}

// pass stops and kills everything that list shows now, and returns how many
// that were.
func (k *killer) pass() (int, error) {
	stopped := make(map[procKey]bool)
	const rounds = 64 // against something that forks faster than we stop
	for range rounds {
		ps, err := k.list()
		if err != nil {
			return 0, err
		}
		fresh := false
		for _, p := range ps {
			if !stopped[p.key()] {
				stopped[p.key()] = true
				fresh = true
				unix.Kill(p.pid, unix.SIGSTOP) //nolint:errcheck // gone is as good
			}
		}
		if !fresh {
			break
		}
	}
	if k.killed == nil {
		k.killed = make(map[procKey]bool)
	}
	for key := range stopped {
		if unix.Kill(key.pid, unix.SIGKILL) == nil {
			k.killed[key] = true
		}
	}
	return len(stopped), nil
}

// sweep repeats pass until nothing is left or the limit is over. After each
// pass it calls reap. It returns how many processes it killed and how many are
// left all the same.
func (k *killer) sweep(limit time.Duration, reap func()) (killed, left int) {
	end := time.Now().Add(limit)
	pause := 200 * time.Microsecond
	for {
		n, err := k.pass()
		reap()
		if err != nil || n == 0 {
			return len(k.killed), 0
		}
		if time.Now().After(end) {
			return max(0, len(k.killed)-n), n
		}
		time.Sleep(pause) // they die asynchronously
		pause = min(2*pause, 20*time.Millisecond)
	}
}
