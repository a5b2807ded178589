//go:build unix

package pilot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

func envOf(kv ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == name {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestGranted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		want granted
	}{
		"nothing": {nil, granted{}},
		"all": {[]string{"GAT_JOB", "4711_3", "GAT_CORES", " 8\n", "GAT_MEMORY", "1073741824", "GAT_LEFT", "3600", "GAT_NODE", "2"},
			granted{job: "4711_3", part: 2, cores: 8, memory: 1 << 30, left: time.Hour}},
		"nonsense": {[]string{"GAT_JOB", "a b", "GAT_CORES", "many", "GAT_MEMORY", "-1", "GAT_LEFT", "UNLIMITED", "GAT_NODE", "x"}, granted{}},
		"too much": {[]string{"GAT_JOB", strings.Repeat("j", 256), "GAT_CORES", "99999999", "GAT_MEMORY", "99999999999999999999", "GAT_LEFT", "9999999999"}, granted{}},
		"no text":  {[]string{"GAT_JOB", "1\xff"}, granted{}},
	} {
		if got := grantedBy(envOf(c.env...)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]time.Duration{{0, 0, 0}, {time.Hour, 0, time.Hour}, {0, time.Minute, time.Minute}, {time.Hour, time.Minute, time.Minute}, {time.Minute, time.Hour, time.Minute}} {
		if got := (granted{left: c[1]}).limit(&Boot{Walltime: Duration(c[0])}); got != c[2] {
			t.Errorf("a wall time of %v with %v left is %v, want %v", c[0], c[1], got, c[2])
		}
	}
}

func TestOffer(t *testing.T) {
	t.Parallel()
	const gb = 1 << 30
	whole := worker.Capacity{Cores: 32, Machine: 32, Memory: 320 * gb, Disk: 7}
	bound := worker.Capacity{Cores: 4, Machine: 32, Memory: 320 * gb, Disk: 7}
	capped := worker.Capacity{Cores: 4, Machine: 32, Memory: 10 * gb, MemoryLimited: true}
	in := func(cores int, memory int64) granted { return granted{job: "1", cores: cores, memory: memory} }
	for name, c := range map[string]struct {
		given    granted
		boot     Boot
		capacity worker.Capacity
		gpus     int
		want     wire.Offer
	}{
		"a host of our own":               {granted{}, Boot{}, whole, 2, wire.Offer{Slots: 32, Cores: 32, Memory: 288 * gb, Disk: 7, GPUs: 2}},
		"as told":                         {granted{}, Boot{Slots: 64, Cores: 48, Memory: 500 * gb, Disk: 9}, whole, 0, wire.Offer{Slots: 64, Cores: 48, Memory: 500 * gb, Disk: 9}},
		"nothing known":                   {granted{}, Boot{}, worker.Capacity{}, 0, wire.Offer{Slots: 1, Cores: 1}},
		"granted":                         {in(8, 16*gb), Boot{}, whole, 1, wire.Offer{Slots: 8, Cores: 8, Memory: 16 * gb, Disk: 7, GPUs: 1}},
		"granted more than we are let":    {in(8, 999*gb), Boot{}, bound, 0, wire.Offer{Slots: 4, Cores: 4, Memory: 288 * gb, Disk: 7}},
		"granted, and told less":          {in(8, 16*gb), Boot{Cores: 4, Memory: 2 * gb, Slots: 2}, whole, 0, wire.Offer{Slots: 2, Cores: 4, Memory: 2 * gb, Disk: 7}},
		"granted, and told more":          {in(8, 16*gb), Boot{Cores: 16, Memory: 99 * gb}, whole, 0, wire.Offer{Slots: 8, Cores: 8, Memory: 16 * gb, Disk: 7}},
		"in a job of which nothing is":    {in(0, 0), Boot{}, whole, 0, wire.Offer{Slots: 1, Cores: 1, Memory: 9 * gb, Disk: 7}},
		"the same, asked for some":        {in(0, 0), Boot{Cores: 4}, whole, 0, wire.Offer{Slots: 4, Cores: 4, Memory: 36 * gb, Disk: 7}},
		"in a job that is bound":          {in(0, 0), Boot{}, bound, 0, wire.Offer{Slots: 4, Cores: 4, Memory: 36 * gb, Disk: 7}},
		"in a job whose memory is capped": {in(0, 0), Boot{}, capped, 0, wire.Offer{Slots: 4, Cores: 4, Memory: 9 * gb}},
	} {
		got := c.given.offer(&c.boot, c.capacity, c.gpus)
		got.Memory = got.Memory / (gb / 8) * (gb / 8) // tenths are no whole numbers
		c.want.Memory = c.want.Memory / (gb / 8) * (gb / 8)
		if d := got.Memory - c.want.Memory; d < -gb/4 || d > gb/4 {
			t.Errorf("%s: %d bytes of memory, want about %d", name, got.Memory, c.want.Memory)
		}
		got.Memory = c.want.Memory
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"dev/nvidia0", "dev/nvidia10", "dev/nvidia2", "dev/nvidiactl", "dev/nvidia-uvm"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		touch(t, path)
	}
	job := granted{job: "1"}
	for name, c := range map[string]struct {
		given granted
		env   []string
		limit int
		want  string
	}{
		"of our own host":             {granted{}, nil, 0, "0 2 10"},
		"fewer wanted":                {granted{}, nil, 2, "0 2"},
		"granted":                     {job, []string{"GAT_GPUS", "1,3", "CUDA_VISIBLE_DEVICES", "0"}, 0, "1 3"},
		"granted none":                {job, []string{"GAT_GPUS", ""}, 4, ""},
		"granted, in CUDA's words":    {job, []string{"CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c, MIG-GPU-1a/1/0"}, 0, "GPU-8932f937-d72c MIG-GPU-1a/1/0"},
		"granted, in ROCm's words":    {job, []string{"ROCR_VISIBLE_DEVICES", "2"}, 0, "2"},
		"none, in Slurm's words":      {job, []string{"CUDA_VISIBLE_DEVICES", "NoDevFiles"}, 0, ""},
		"up to an invalid one":        {job, []string{"CUDA_VISIBLE_DEVICES", "0,-1,1"}, 0, "0"},
		"one twice":                   {job, []string{"GAT_GPUS", "0,0,1"}, 0, "0 1"},
		"a shell's words":             {job, []string{"GAT_GPUS", "0;rm,$(x)"}, 0, ""},
		"in a job that says nothing":  {job, nil, 0, ""},
		"in a job that asked for two": {job, nil, 2, "0 2"},
		"more granted than wanted":    {job, []string{"GAT_GPUS", "0,1,2"}, 1, "0"},
	} {
		lookup := func(name string) (string, bool) {
			for i := 0; i < len(c.env); i += 2 {
				if c.env[i] == name {
					return c.env[i+1], true
				}
			}
			return "", false
		}
		var got []string
		for _, g := range c.given.devices(root, lookup, c.limit) {
			if g.CUDA != g.ROCR {
				t.Errorf("%s: %+v", name, g)
			}
			got = append(got, g.CUDA)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := parseGPUs(strings.Repeat("GPU-x,", 10) + "GPU-" + strings.Repeat("y", 200)); len(got) != 1 {
		t.Errorf("%d devices of a list with one", len(got))
	}
}

func TestRack(t *testing.T) {
	t.Parallel()
	r := newRack([]worker.GPU{{CUDA: "0"}, {CUDA: "1"}, {ROCR: "0"}})
	a, err := r.take(2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.take(1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.take(1); err == nil {
		t.Errorf("device %v was given to two", got)
	}
	env := []string{"A=b", "CUDA_VISIBLE_DEVICES=7", "HIP_VISIBLE_DEVICES=7"}
	if d := cmp.Diff([]string{"A=b", "CUDA_VISIBLE_DEVICES=0,1", "ROCR_VISIBLE_DEVICES="}, r.environ(append([]string(nil), env...), a)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"A=b", "CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=0"}, r.environ(append([]string(nil), env...), b)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	r.put(a)
	if again, err := r.take(2); err != nil || cmp.Diff(a, again) != "" {
		t.Errorf("the next worker has %v, %v; want %v", again, err, a)
	}
	if d := cmp.Diff(env, newRack(nil).environ(env, nil)); d != "" {
		t.Errorf("without devices (-want +got):\n%s", d)
	}
}
