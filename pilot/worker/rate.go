package worker

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Rate is how many processes per second were launched, run to their end and
// cleared away.
type Rate struct {
	Yard float64 // by a yard: own sandbox, guard, both streams read to their end
	Bare float64 // by as many goroutines that call exec.Command(...).Run()
}

// Ratio is the yard's share of the bare rate.
func (r Rate) Ratio() float64 { return r.Yard / r.Bare }

// LaunchRate measures both rates on this machine with cfg.Slots in parallel
// and n launches of the program true each way. The two take turns in short
// rounds, so that other load on the machine meets both, and the median round of
// each counts. The guards are started before the clock.
func LaunchRate(ctx context.Context, cfg Config, n int) (Rate, error) {
	y, err := Open(cfg)
	if err != nil {
		return Rate{}, err
	}
	defer y.Close() //nolint:errcheck // the measurement counts
	for s := range cfg.Slots {
		if err := y.keep.ready(s); err != nil {
			return Rate{}, err
		}
	}
	program, err := exec.LookPath("true")
	if err != nil {
		return Rate{}, fmt.Errorf("measure launches: %w", err)
	}
	yard := func(slot, i int) error {
		id := strconv.Itoa(slot) + "-" + strconv.Itoa(i)
		sb, err := y.Sandbox(slot, id)
		if err != nil {
			return err
		}
		p, err := y.Start(ctx, Spec{Slot: slot, ID: id, Argv: []string{program}})
		if err != nil {
			return err
		}
		defer p.Stderr.Close()
		defer p.Stdout.Close()
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, p.Stderr) }) //nolint:errcheck // it is empty
		io.Copy(io.Discard, p.Stdout)                   //nolint:errcheck // as above
		wg.Wait()
		if e := p.Exit(); !e.Success() {
			return fmt.Errorf("%s: %v", program, e)
		}
		return sb.Remove()
	}
	bare := func(int, int) error { return exec.CommandContext(ctx, program).Run() }

	var yardTimes, bareTimes []time.Duration
	const round = 25 // launches of one slot
	done := 0
	for done < n {
		for _, way := range []struct {
			f func(slot, i int) error
			t *[]time.Duration
		}{{bare, &bareTimes}, {yard, &yardTimes}} {
			errs := make([]error, cfg.Slots)
			var wg sync.WaitGroup
			start := time.Now()
			for s := range cfg.Slots {
				wg.Go(func() {
					for i := range round {
						if errs[s] = way.f(s, done+i); errs[s] != nil {
							return
						}
					}
				})
			}
			wg.Wait()
			*way.t = append(*way.t, time.Since(start))
			for _, err := range errs {
				if err != nil {
					return Rate{}, fmt.Errorf("measure launches: %w", err)
				}
			}
		}
		done += round * cfg.Slots
	}
	perSecond := func(times []time.Duration) float64 {
		slices.Sort(times)
		return float64(round*cfg.Slots) / times[len(times)/2].Seconds()
	}
	return Rate{Yard: perSecond(yardTimes), Bare: perSecond(bareTimes)}, nil
}
