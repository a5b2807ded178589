package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// GPU is a device that can be given to a worker, by the names that programs
// know it under; an empty one means that such programs cannot use it.
type GPU struct {
	CUDA string // in CUDA_VISIBLE_DEVICES
	ROCR string // in ROCR_VISIBLE_DEVICES
}

// HostGPUs returns the devices that a host has, as its kernel tells below root,
// "/" but for tests: those of NVIDIA as /dev/nvidia0 and so on, those of AMD as
// nodes of /sys/class/kfd. Where there is but one kind a device has its number
// under both names.
func HostGPUs(root string) []GPU {
	nvidia := nvidiaDevices(filepath.Join(root, "dev"))
	amd := amdDevices(filepath.Join(root, "sys/class/kfd/kfd/topology/nodes"))
	var gpus []GPU
	for _, n := range nvidia {
		gpus = append(gpus, GPU{CUDA: strconv.Itoa(n)})
	}
	for i := range amd {
		gpus = append(gpus, GPU{ROCR: strconv.Itoa(i)})
	}
	if len(nvidia) == 0 || amd == 0 {
		for i := range gpus {
			g := &gpus[i]
			g.CUDA, g.ROCR = g.CUDA+g.ROCR, g.CUDA+g.ROCR
		}
	}
	return gpus
}

// nvidiaDevices returns the numbers of the devices, ascending.
func nvidiaDevices(dev string) []int {
	var list []int
	for _, name := range listDir(dev) {
		if digits, ok := strings.CutPrefix(name, "nvidia"); ok {
			if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
				list = append(list, int(n))
			}
		}
	}
	slices.Sort(list)
	return list
}

// amdDevices counts the nodes of the topology that are no processors.
func amdDevices(nodes string) int {
	n := 0
	for _, name := range listDir(nodes) {
		id, err := os.ReadFile(filepath.Join(nodes, name, "gpu_id"))
		if text := strings.TrimSpace(string(id)); err == nil && text != "" && text != "0" {
			n++
		}
	}
	return n
}

// listDir returns the names in a directory, none if it cannot be read.
func listDir(path string) []string {
	d, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return names
}
