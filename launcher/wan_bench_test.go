package launcher_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// The path of the benchmarks: 100 ms there and back, 100 Mbit/s, and a queue of
// one round trip. Rates are taken from the third second on, for ten seconds.
const (
	wanRTT     = 100 * time.Millisecond
	wanRate    = 100e6
	wanWarmUp  = 3 * time.Second
	wanMeasure = 10 * time.Second
	wanTurns   = 3
)

// BenchmarkWAN measures a direct stream between two nodes far apart beside
// iperf3 on the same path: one connection of it where no packets are lost, and
// eight where one of a thousand is.
func BenchmarkWAN(b *testing.B) {
	w := testbed.WideArea(b, testbed.Place{Name: "east", Inbound: testbed.Anything}, testbed.Place{Name: "west", Inbound: testbed.Anything})
	for _, c := range []struct {
		name  string
		loss  float64
		iperf []string
	}{
		{"no-loss", 0, nil},
		{"loss-of-0.1-percent", 0.001, []string{"-P", "8"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			line := testbed.Line{Delay: wanRTT / 2, Rate: wanRate, Loss: c.loss}
			w.SetPath(w.Sites[0], w.Sites[1], line)
			w.SetPath(w.Sites[1], w.Sites[0], line)
			for b.Loop() {
				var ours, theirs []float64
				for range wanTurns {
					ours = append(ours, streamRate(b, w.Sites[0].Head, w.Sites[1].Head))
					theirs = append(theirs, iperfRate(b, w.Sites[0].Head, w.Sites[1].Head, c.iperf...))
				}
				b.ReportMetric(mean(ours)/1e6, "Mbit/s")
				b.ReportMetric(mean(theirs)/1e6, "Mbit/s-iperf3")
				b.ReportMetric(mean(ours)/mean(theirs), "x-iperf3")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

func mean(list []float64) float64 {
	var sum float64
	for _, x := range list {
		sum += x
	}
	return sum / float64(len(list))
}

func iperfRate(b *testing.B, from, to *testbed.Host, args ...string) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	rate, err := from.IPerf(ctx, to, append([]string{"-O", fmt.Sprint(wanWarmUp.Seconds()), "-t", fmt.Sprint(wanMeasure.Seconds())}, args...)...)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}

// streamRate is what a stream from a node on one host to one on another
// carries, in bits per second. The nodes run in this process; their sockets are
// the hosts'.
func streamRate(b *testing.B, from, to *testbed.Host) float64 {
	b.Helper()
	authority, err := transport.NewAuthority("wanbench", 0)
	if err != nil {
		b.Fatal(err)
	}
	var received atomic.Int64
	sink := func(_ context.Context, s *transport.Stream) {
		buf := make([]byte, 256<<10)
		for {
			n, err := s.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	node := func(site string) *transport.Endpoint {
		id, err := authority.Identity(wire.RoleHub, site)
		if err != nil {
			b.Fatal(err)
		}
		e, err := transport.New(transport.Config{Identity: id, Handlers: map[wire.StreamKind]transport.Handler{wire.StreamFetch: sink}})
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for range e.Events() {
			}
		}()
		b.Cleanup(func() { e.Close() })
		return e
	}
	x, y := node("east"), node("west")
	defer x.Close()
	defer y.Close()
	var l net.Listener
	if err := to.InNetwork(func() (err error) {
		l, err = net.Listen("tcp4", to.Addr+":0")
		return err
	}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go y.Serve(ctx, l, transport.TCP)
	dial := func(ctx context.Context) (conn io.ReadWriteCloser, err error) {
		err = from.InNetwork(func() error {
			conn, err = new(net.Dialer).DialContext(ctx, "tcp4", l.Addr().String())
			return err
		})
		return conn, err
	}
	conn, err := dial(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := x.Connect(ctx, conn, transport.TCP, transport.Options{More: dial}); err != nil {
		b.Fatal(err)
	}
	s, err := x.OpenStream(ctx, y.ID(), wire.StreamFetch)
	if err != nil {
		b.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		block := make([]byte, 1<<20)
		for {
			if _, err := s.Write(block); err != nil {
				written <- err
				return
			}
		}
	}()
	warm, over := time.NewTimer(wanWarmUp), time.NewTimer(wanWarmUp+wanMeasure)
	defer warm.Stop()
	defer over.Stop()
	var before int64
	var since time.Time
	for {
		select {
		case <-warm.C:
			before, since = received.Load(), time.Now()
		case <-over.C:
			rate := float64(received.Load()-before) * 8 / time.Since(since).Seconds()
			s.Reset()
			<-written
			return rate
		case err := <-written:
			b.Fatalf("the stream broke: %v", err)
		}
	}
}
