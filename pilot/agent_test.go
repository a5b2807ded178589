package pilot

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// TestAgentStops ends an agent whose tasks all answer at the end, many more than
// its loop has room for.
func TestAgentStops(t *testing.T) {
	t.Parallel()
	authority, err := transport.NewAuthority(session, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority.Identity(wire.RoleLauncher, "home")
	if err != nil {
		t.Fatal(err)
	}
	ep, err := transport.New(transport.Config{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	a := NewAgent(nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, ep, core.Config{ID: id.ID, Role: id.Role}) }()
	nothing := func(time.Duration, *core.Node) {}
	if err := a.Call(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	for range 10 * cap(a.calls) {
		a.tasks.Go(func() {
			<-ctx.Done()
			a.Do(nothing)
		})
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the agent waits for tasks that wait for it")
	}
	<-a.Done()
	// Room that is left takes a call that is never made; Call must not wait for it.
	if err := a.Call(t.Context(), nothing); !errors.Is(err, ErrStopped) {
		t.Errorf("a call to an agent that has stopped: %v", err)
	}
}
