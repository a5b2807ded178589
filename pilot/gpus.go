package pilot

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// A rack is the GPUs of one pilot: each of them belongs to one worker at a
// time, from before its process starts until it and all it left have ended.
type rack struct {
	all []worker.GPU

	mu   sync.Mutex
	used []bool // as all
}

func newRack(all []worker.GPU) *rack { return &rack{all: all, used: make([]bool, len(all))} }

// take gives a worker n devices that nobody has, by their numbers. There are
// enough for all workers whose slots the pilot has granted.
func (r *rack) take(n int) ([]int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []int
	for i, used := range r.used {
		if len(got) < n && !used {
			got = append(got, i)
		}
	}
	if len(got) < n {
		return nil, fmt.Errorf("%d of %d GPUs are free, the worker needs %d", len(got), len(r.all), n)
	}
	for _, i := range got {
		r.used[i] = true
	}
	return got, nil
}

// put takes a worker's devices back.
func (r *rack) put(devices []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range devices {
		r.used[i] = false
	}
}

// environ tells a worker in its environment which devices are its own; of
// others it is told nothing. A pilot without any leaves the environment as it is.
func (r *rack) environ(env []string, devices []int) []string {
	if len(r.all) == 0 {
		return env
	}
	env = slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL":
			return true
		}
		return false
	})
	var cuda, rocr []string
	for _, i := range devices {
		cuda, rocr = append(cuda, r.all[i].CUDA), append(rocr, r.all[i].ROCR)
	}
	join := func(ids []string) string {
		return strings.Join(slices.DeleteFunc(ids, func(id string) bool { return id == "" }), ",")
	}
	return append(env, "CUDA_VISIBLE_DEVICES="+join(cuda), "ROCR_VISIBLE_DEVICES="+join(rocr))
}
