package worker_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

func TestCapacity(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{dir, filepath.Join(dir, "not-yet")} {
		c, err := worker.MeasureCapacity(p)
		if err != nil || c.Cores < 1 || c.Cores > runtime.NumCPU() || c.Machine < c.Cores || c.Memory < 1<<24 || c.MemoryFree <= 0 || c.MemoryFree > c.Memory || c.Disk <= 0 {
			t.Errorf("MeasureCapacity(%s) = %+v, %v", p, c, err)
		}
	}
	if c, err := worker.MeasureCapacity("/no/such/directory"); err == nil || c.Cores < 1 {
		t.Errorf("without a disk: %+v, %v", c, err)
	}
}

func TestCgroupLimits(t *testing.T) {
	for _, tt := range []struct {
		name, self   string
		files        map[string]string
		cores        float64
		memory, used int64
	}{
		{"none", "0::/\n", nil, 0, 0, 0},
		{"v2 unlimited", "0::/user\n", map[string]string{"/sys/fs/cgroup/user/cpu.max": "max 100000\n", "/sys/fs/cgroup/user/memory.max": "max\n"}, 0, 0, 0},
		{"v2, the tightest counts", "0::/a/b\n", map[string]string{
			"/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "/sys/fs/cgroup/a/cpu.max": "150000 100000\n",
			"/sys/fs/cgroup/a/b/memory.max": "1000\n", "/sys/fs/cgroup/a/b/memory.current": "300\n", "/sys/fs/cgroup/a/memory.max": "2000\n",
		}, 1.5, 1000, 300},
		{"v1", "5:cpu,cpuacct:/slurm/job\n3:memory:/slurm/job\n", map[string]string{
			"/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us": "200000\n", "/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_period_us": "100000\n",
			"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":           "-1\n",
			"/sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes": "5000\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 2, 5000, 0},
		{"nonsense", "x\n0::/../..\n7:cpu:\n", map[string]string{"/sys/fs/cgroup/cpu.max": "a b\n"}, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cores, memory, used := worker.CgroupLimits(tt.files, tt.self)
			if cores != tt.cores || memory != tt.memory || used != tt.used {
				t.Errorf("limits of %q: %v cores, %d bytes, %d used; want %v, %d, %d", tt.self, cores, memory, used, tt.cores, tt.memory, tt.used)
			}
		})
	}
}
