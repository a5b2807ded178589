package worker_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

func TestHostGPUs(t *testing.T) {
	t.Parallel()
	const nodes = "sys/class/kfd/kfd/topology/nodes/"
	for name, c := range map[string]struct {
		files map[string]string
		want  []worker.GPU
	}{
		"none":   {nil, nil},
		"nvidia": {map[string]string{"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": "", "dev/nvidia-uvm": ""}, []worker.GPU{{"0", "0"}, {"1", "1"}}},
		"amd": {map[string]string{nodes + "0/gpu_id": "0\n", nodes + "1/gpu_id": "4711\n", nodes + "2/gpu_id": "4712\n", nodes + "3/name": ""},
			[]worker.GPU{{"0", "0"}, {"1", "1"}}},
		"both": {map[string]string{"dev/nvidia3": "", nodes + "0/gpu_id": "17"}, []worker.GPU{{CUDA: "3"}, {ROCR: "0"}}},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(c.want, worker.HostGPUs(root)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
