package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// iperfTries is how often a measurement is begun: the server of iperf3 3.12
// now and then gives up its port between the two connections of a client.
const iperfTries = 3

// IPerf measures TCP from this host to another with iperf3, for which args are
// (-t 10, -P 8, ...), and returns the bits of payload received per second. It
// needs a way to port 5201 of the other host.
func (h *Host) IPerf(ctx context.Context, to *Host, args ...string) (float64, error) {
	var errs []error
	for range iperfTries {
		rate, err := h.iperf(ctx, to, args)
		if err == nil || ctx.Err() != nil {
			return rate, err
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

func (h *Host) iperf(ctx context.Context, to *Host, args []string) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := to.Exec(ctx, "iperf3", "-s", "-1")
		ended <- err
	}()
	defer func() {
		cancel()
		<-ended
	}()
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		out, err := to.Exec(ctx, "ss", "-Hltn", "sport = :5201")
		return len(bytes.TrimSpace(out)) > 0, err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for iperf3 on %s: %w", to.Name, err)
	}
	out, err := h.Exec(ctx, append([]string{"iperf3", "-J", "-c", to.Addr}, args...)...)
	var report struct {
		Error string `json:"error"`
		End   struct {
			Sum struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if jsonErr := json.Unmarshal(out, &report); err == nil && jsonErr != nil {
		err = jsonErr
	}
	if err != nil {
		return 0, fmt.Errorf("iperf3 from %s to %s: %w %s", h.Name, to.Name, err, report.Error)
	}
	return report.End.Sum.Rate, nil
}
