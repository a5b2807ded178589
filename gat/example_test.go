package gat_test

import (
	"context"
	"fmt"
	"log"
	"net/url"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// Submit two jobs and follow them to their end. A real program lists real
// backends instead of the machine in memory.
func ExampleSite() {
	machine := gatmem.New()
	defer machine.Close()
	site, err := gat.NewSite(gat.SiteConfig{
		Name:     "das",
		URLs:     []*url.URL{{Scheme: "mem"}},
		Backends: []gat.Backend{gatmem.Backend{"": machine}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer site.Close()

	ctx := context.Background()
	ids, err := site.Submit(ctx, gat.JobSpec{
		Argv:   []string{"/bin/args", "hello", "world"},
		Stderr: "/home/out",
	})
	if err != nil {
		log.Fatal(err)
	}
	for job, err := range site.Watch(ctx, ids...) {
		switch {
		case err != nil:
			fmt.Println(err) // this poll; the next one may do
		case job.State.Final():
			fmt.Println("job", job.State, "with status", job.Exit)
		}
	}
	// A login is made when it is needed, and shared.
	fmt.Println("via", site.Via())
	// Output:
	// job done with status 0
	// via mem:
}
