package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// hubEnv makes the test binary a hub: its own socket, then the session's pin.
// relayEnv makes it a bare relay to an address.
const (
	hubEnv   = "ZORILLA_TRANSPORT_HUB"
	relayEnv = "ZORILLA_TRANSPORT_RELAY"
)

func TestMain(m *testing.M) {
	if next := os.Getenv(relayEnv); next != "" {
		if err := runRelay(next); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if args := os.Getenv(hubEnv); args != "" {
		if err := runHub(strings.Fields(args)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runHub is a hub as a process. It prints where it listens, connects to each
// address that it reads, and ends with its input.
func runHub(args []string) error {
	pin, err := transport.ParsePin(args[1])
	if err != nil {
		return err
	}
	e, err := transport.New(transport.Config{Join: &transport.JoinRequest{Pin: pin, Token: "hub", Secret: secret}})
	if err != nil {
		return err
	}
	defer e.Close()
	go func() {
		for range e.Events() {
		}
	}()
	local, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go e.Serve(context.Background(), local, transport.Local)
	go e.Serve(context.Background(), public, transport.TCP)
	fmt.Println(public.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		conn, err := net.Dial("tcp", in.Text())
		if err != nil {
			return err
		}
		p, err := e.Connect(context.Background(), conn, transport.TCP, transport.Options{})
		if err != nil {
			return err
		}
		fmt.Println(p.ID)
	}
	return nil
}

// hubProcess is a hub in a process of its own.
type hubProcess struct {
	id   wire.NodeID
	tcp  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *bufio.Scanner
}

// startHub starts a hub and admits it.
func startHub(b *testing.B, launcher *testNode, a *transport.Authority) *hubProcess {
	b.Helper()
	h := &hubProcess{cmd: exec.Command(os.Args[0])}
	socket := filepath.Join(b.TempDir(), "s")
	h.cmd.Env = append(os.Environ(), hubEnv+"="+socket+" "+a.Pin().String())
	h.cmd.Stderr = os.Stderr
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.stop(b) })
	h.said = bufio.NewScanner(out)
	h.tcp = h.line(b)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	h.id = connect(b, launcher, conn, transport.Local, transport.Options{Admit: true}).ID
	conn.Close() // the network is of TCP alone
	launcher.waitDown(h.id, 0)
	return h
}

// runRelay prints where it listens and has the kernel pass on one connection
// to an address, and what comes back. It is the least that a hub can do.
func runRelay(next string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	from, err := l.Accept()
	if err != nil {
		return err
	}
	to, err := net.Dial("tcp", next)
	if err != nil {
		return err
	}
	go io.Copy(from, to)
	_, err = io.Copy(to, from)
	to.Close()
	return err
}

// startRelay starts a bare relay to an address and returns its own, and its
// process.
func startRelay(b *testing.B, next string) (address string, pid int) {
	b.Helper()
	r := &hubProcess{cmd: exec.Command(os.Args[0])}
	r.cmd.Env = append(os.Environ(), relayEnv+"="+next)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it may still wait for its connection
		_ = r.cmd.Wait()
	})
	r.said = bufio.NewScanner(out)
	return r.line(b), r.cmd.Process.Pid
}

func (h *hubProcess) line(b *testing.B) string {
	b.Helper()
	if !h.said.Scan() {
		b.Fatal("the hub has ended")
	}
	return h.said.Text()
}

// to connects the hub to another.
func (h *hubProcess) to(b *testing.B, other *hubProcess) {
	b.Helper()
	fmt.Fprintln(h.in, other.tcp)
	if got := h.line(b); got != other.id.String() {
		b.Fatalf("connected to %s, want %s", got, other.id)
	}
}

func (h *hubProcess) stop(b *testing.B) {
	if h.in == nil {
		return
	}
	h.in.Close()
	h.in = nil
	if err := h.cmd.Wait(); err != nil {
		b.Errorf("hub: %v", err)
	}
}

// cpu returns the processor time that processes have used so far; zero is this
// one.
func cpu(b *testing.B, pids ...int) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, pid := range pids {
		clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
		if pid != 0 {
			clock = ^int32(pid)<<3 | 2 // see clock_getcpuclockid(3)
		}
		var t unix.Timespec
		if err := unix.ClockGettime(clock, &t); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum
}

// BenchmarkPaths prints how streams over one machine's loopback compare, in one
// run: a direct bulk stream beside plain TLS; one over two hubs, each a process
// of its own, beside a direct one, by the processor time of all processes; and
// what each hub adds to the round trip of 64 bytes. Plain TLS over two bare
// relays is there to compare with: the least that two hops more can cost with
// the system's congestion control. All take turns; the bulk streams have their
// lanes before the clock starts.
//
//	go test ./overlay/transport -run '^$' -bench Paths -benchtime 1x
func BenchmarkPaths(b *testing.B) {
	const (
		size  = 256 << 20
		turns = 7
	)
	a := authority(b)
	id := identity(b, a, wire.RoleLauncher, "home")
	signer := a.Signer(id, nil)
	addToken(b, signer, transport.Token{Name: "hub", Role: wire.RoleHub, Site: "das5", Joins: 2})
	done := make(chan struct{})
	handlers := map[wire.StreamKind]transport.Handler{
		wire.StreamFetch: echo,
		wire.StreamOutput: func(_ context.Context, s *transport.Stream) {
			buf := make([]byte, 256<<10)
			for n := 0; ; {
				k, err := s.Read(buf)
				if n += k; n >= size {
					n -= size
					done <- struct{}{}
				}
				if err != nil {
					return
				}
			}
		},
	}
	x := start(b, transport.Config{Identity: id, Signer: signer})
	near := start(b, transport.Config{Identity: identity(b, a, wire.RolePilot, "das5"), Handlers: handlers})
	one := start(b, transport.Config{Identity: identity(b, a, wire.RolePilot, "das5"), Handlers: handlers})
	two := start(b, transport.Config{Identity: identity(b, a, wire.RolePilot, "das5"), Handlers: handlers})
	first, second := startHub(b, x, a), startHub(b, x, a)
	first.to(b, second)
	tcp := func(n *testNode, address string) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		connect(b, n, conn, transport.TCP, transport.Options{})
	}
	connect(b, x, listen(b, near, transport.TCP)(), transport.TCP, transport.Options{})
	tcp(x, first.tcp)
	tcp(one, first.tcp)
	tcp(two, second.tcp)
	x.SetRoutes(map[wire.NodeID][]wire.NodeID{first.id: {first.id}, second.id: {first.id, second.id}})
	x.SetHubs(one.ID(), []wire.NodeID{first.id})
	x.SetHubs(two.ID(), []wire.NodeID{second.id})

	// A way to send size bytes, and the processes that work for it.
	type way struct {
		name string
		w    io.Writer
		done <-chan struct{}
		pids []int

		times []time.Duration
		used  []time.Duration // by all of them
		ends  []time.Duration // by this process
	}
	here := []int{0}
	hubs := []int{0, first.cmd.Process.Pid, second.cmd.Process.Pid}
	plain, plainDone := plainTLSBlocks(b, size)
	bare := append([]int(nil), here...)
	relayed, relayedDone := plainTLSBlocks(b, size, func(address string) string {
		for range 2 {
			var pid int
			address, pid = startRelay(b, address)
			bare = append(bare, pid)
		}
		return address
	})
	ways := []*way{
		{name: "plain TLS", w: plain, done: plainDone, pids: here},
		{name: "direct", w: open(b, x, near.ID(), wire.StreamOutput), done: done, pids: here},
		{name: "bare relays", w: relayed, done: relayedDone, pids: bare},
		{name: "one hub", w: open(b, x, one.ID(), wire.StreamOutput), done: done, pids: hubs},
		{name: "two hubs", w: open(b, x, two.ID(), wire.StreamOutput), done: done, pids: hubs},
	}
	block := make([]byte, 256<<10)
	send := func(w *way) {
		for range size / len(block) {
			if _, err := w.w.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		<-w.done
	}
	for _, w := range ways {
		send(w) // its lanes are there afterwards
	}
	for b.Loop() {
		for range turns {
			for _, w := range ways {
				begin, used, ends := time.Now(), cpu(b, w.pids...), cpu(b, here...)
				send(w)
				w.times = append(w.times, time.Since(begin))
				w.used = append(w.used, cpu(b, w.pids...)-used)
				w.ends = append(w.ends, cpu(b, here...)-ends)
			}
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return d[len(d)/2].Seconds()
	}
	const gb = float64(size) / 1e9
	for _, w := range ways {
		b.Logf("%-11s  %5.0f MB/s at best, %5.0f in the middle; %.2f CPU-s/GB, %.2f of them at the ends", w.name,
			gb*1e3/slices.Min(w.times).Seconds(), gb*1e3/median(w.times), median(w.used)/gb, median(w.ends)/gb)
	}
	b.ReportMetric(slices.Min(ways[0].times).Seconds()/slices.Min(ways[1].times).Seconds(), "direct/TLS")
	b.ReportMetric(median(ways[0].used)/median(ways[1].used), "TLS-CPU/direct-CPU")
	b.ReportMetric(median(ways[2].used)/median(ways[0].used), "2relays-CPU/TLS-CPU")
	b.ReportMetric(median(ways[4].used)/median(ways[1].used), "2hubs-CPU/direct-CPU")

	// Round trips, on streams that have not moved to lanes and on ones that have.
	for _, lanes := range []bool{false, true} {
		var trips [3]float64
		for i, to := range []*testNode{near, one, two} {
			s := open(b, x, to.ID(), wire.StreamFetch)
			if lanes {
				swap(b, s, make([]byte, 64<<10), 64)
			}
			trips[i] = median(swap(b, s, make([]byte, 64), 2000)) * 1e6
			s.Close()
		}
		on := "carriers"
		if lanes {
			on = "lanes"
		}
		b.Logf("64 bytes there and back on %s: direct %.0f, one hub %.0f, two hubs %.0f microseconds", on, trips[0], trips[1], trips[2])
		b.ReportMetric((trips[2]-trips[0])/2, "us-per-hub-on-"+on)
	}
	b.ReportMetric(0, "ns/op")
}

// swap sends a block there and back and returns how long each took.
func swap(b *testing.B, s io.ReadWriter, block []byte, rounds int) []time.Duration {
	b.Helper()
	took := make([]time.Duration, rounds)
	for i := range took {
		begin := time.Now()
		if _, err := s.Write(block); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, block); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(begin)
	}
	return took
}
