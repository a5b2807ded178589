package pilot

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
)

// Times of telling a denial.
const (
	heraldPatience = 15 * time.Second       // for all of it
	heraldPause    = 500 * time.Millisecond // from the link to leaving: who is to hear of the end has to know of the beginning
)

// herald tells a session why there will be no pilot on this host. What a job of a
// queueing system says may be read by nobody, and how it ended be known a
// minute later. So a member that offers nothing joins by the job's hubs, and leaves
// again with the reason. It makes no file and starts no process.
func herald(ctx context.Context, boot *Boot, given granted, denial *Denial) error {
	if len(boot.Hubs) == 0 && boot.HubsFile == "" {
		return errors.New("no hub to tell")
	}
	ctx, cancel := context.WithTimeout(ctx, heraldPatience)
	defer cancel()
	r := &resident{boot: boot, log: slog.New(slog.DiscardHandler)}
	r.hubs.told, r.hubs.file = boot.Hubs, boot.HubsFile
	request, err := boot.request()
	if err != nil {
		return err
	}
	identity, _, err := r.join(ctx, request, false)
	if err != nil {
		return err
	}
	r.agent = NewAgent(nil, nil)
	if r.ep, err = transport.New(transport.Config{Identity: identity}); err != nil {
		return err
	}
	defer r.ep.Close()
	node := Member(identity)
	node.Name, node.Platform = denial.Host, runtime.GOOS+"/"+runtime.GOARCH
	node.Job, node.Part = given.job, given.part
	node.Lease = time.Duration(boot.Lease)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		defer cancel()
		r.agent.Run(ctx, r.ep, node) //nolint:errcheck // why it ended does not matter any more
	})
	if _, _, _, err := r.connectAny(ctx, r.hubs.list(), callPatience); err != nil {
		cancel()
		return err
	}
	pause(ctx, heraldPause)
	r.abandon(denial.Error())
	return nil
}
