package launcher_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/launcher"
)

func TestCapacity(t *testing.T) {
	declared := &launcher.Site{Name: "das", Hosts: []string{"n1", "n2"}, Slots: 4, Cores: 8, Memory: 16e9, Walltime: time.Hour}
	asked := &launcher.Site{Name: "lab"}
	slurm := []*url.URL{{Scheme: "slurm+ssh", Host: "h"}}
	queue := &launcher.Site{Name: "big", URLs: slurm, Pilots: 40, Cores: 16}
	gpus := &launcher.Site{Name: "gpu", URLs: slurm, Pilots: 2, Cores: 12, GPUs: 4}
	granted := &launcher.Site{Name: "default", URLs: slurm, Pilots: 40}
	for _, tt := range []struct {
		name  string
		job   launcher.Job
		sites []*launcher.Site
		found map[string]int
		want  int // workers that fit on what is known
		all   bool
		err   string
	}{
		{"fits", launcher.Job{Workers: 8}, []*launcher.Site{declared}, nil, 8, true, ""},
		{"too many", launcher.Job{Workers: 9}, []*launcher.Site{declared}, nil, 8, true, "the sites have room for 8 workers, the job needs 9:\nSITE"},
		{"min is enough", launcher.Job{Workers: 9, Min: 8}, []*launcher.Site{declared}, nil, 8, true, ""},
		{"somebody may have more", launcher.Job{Workers: 900}, []*launcher.Site{declared, asked}, nil, 8, false, ""},
		{"asked", launcher.Job{Workers: 900}, []*launcher.Site{declared, asked}, map[string]int{"lab": 2}, 10, true, "room for 10 workers"},
		{"two slots each", launcher.Job{Workers: 5, Cores: 3}, []*launcher.Site{declared}, nil, 4, true, "a worker takes 2 slots"},
		{"memory of three slots", launcher.Job{Workers: 1, Memory: 9e9}, []*launcher.Site{declared}, nil, 2, true, ""},
		{"too many cores", launcher.Job{Workers: 1, Cores: 9}, []*launcher.Site{declared}, nil, 0, true, "a worker needs 9 cores, a pilot has 8"},
		{"too much memory", launcher.Job{Workers: 1, Memory: 17e9}, []*launcher.Site{declared}, nil, 0, true, "a worker needs 17 GB of memory, a pilot has 16 GB"},
		{"too long", launcher.Job{Workers: 1, Walltime: 2 * time.Hour}, []*launcher.Site{declared}, nil, 0, true, "the job may take 2h0m0s, a pilot leaves after 1h0m0s"},
		{"gpus", launcher.Job{Workers: 1, GPUs: 1}, []*launcher.Site{asked}, nil, 0, false, ""},
		{"gpus are seen there", launcher.Job{Workers: 1, GPUs: 1}, []*launcher.Site{declared}, nil, 0, false, ""},
		{"a GPU each", launcher.Job{Workers: 9, GPUs: 1}, []*launcher.Site{gpus}, nil, 8, true, "a worker takes 3 slots"},
		{"two GPUs each", launcher.Job{Workers: 4, GPUs: 2}, []*launcher.Site{gpus}, nil, 4, true, ""},
		{"too many GPUs", launcher.Job{Workers: 1, GPUs: 5}, []*launcher.Site{gpus}, nil, 0, true, "a worker needs 5 GPUs, a pilot has 4"},
		{"more cores than GPUs", launcher.Job{Workers: 9, GPUs: 1, Cores: 6}, []*launcher.Site{gpus}, nil, 4, true, "a worker takes 6 slots"},
		{"no GPUs asked for", launcher.Job{Workers: 1, GPUs: 1}, []*launcher.Site{queue}, nil, 0, true, "no GPUs are asked of the queueing system; write gpus = 1 under [site.big]"},
		{"pilots times cores", launcher.Job{Workers: 640}, []*launcher.Site{queue}, nil, 640, true, ""},
		{"what the queue gives", launcher.Job{Workers: 640}, []*launcher.Site{granted}, nil, 0, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := launcher.CapacityOf(tt.job, tt.sites, tt.found)
			if got, all := c.Workers(); got != tt.want || all != tt.all {
				t.Errorf("Workers() = %d, %v; want %d, %v\n%s", got, all, tt.want, tt.all, c.Table())
			}
			err := c.Err()
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Err() = %v, want %q", err, tt.err)
			}
		})
	}
}

func TestCapacityTable(t *testing.T) {
	c := launcher.CapacityOf(launcher.Job{Workers: 1, Cores: 3}, []*launcher.Site{
		{Name: "das", Pilots: 2, Slots: 4, Cores: 8}, {Name: "lab"},
		{Name: "big", Pilots: 40, URLs: []*url.URL{{Scheme: "sge+ssh", Host: "h"}}},
	}, nil)
	want := `SITE  PILOTS  SLOTS EACH   WORKERS
das   2       4            4          a worker takes 2 slots
lab   1       asked there  1 or more
big   40      as granted   1 or more`
	if got := c.Table(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
