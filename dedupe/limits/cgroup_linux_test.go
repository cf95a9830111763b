package limits

import (
	"path/filepath"
	"testing"

	"efsdedupe/fixtures/testkit"
)

func TestCgroupLimit(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no cgroups", nil, 0},
		{"v2 in a container", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "134217728\n",
		}, 128 << 20},
		{"v2, unlimited", map[string]string{
			"proc/self/cgroup":                    "0::/user.slice/a.scope\n",
			"sys/fs/cgroup/user.slice/memory.max": "max\n",
		}, 0},
		{"v2, the limit of a parent", map[string]string{
			"proc/self/cgroup":                            "0::/user.slice/a.scope\n",
			"sys/fs/cgroup/user.slice/memory.max":         "1000000\n",
			"sys/fs/cgroup/user.slice/a.scope/memory.max": "2000000\n",
		}, 1000000},
		{"v2, throttled before the limit", map[string]string{
			"proc/self/cgroup":          "0::/\n",
			"sys/fs/cgroup/memory.max":  "2000000\n",
			"sys/fs/cgroup/memory.high": "1500000\n",
		}, 1500000},
		{"v1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/1234\n0::/\n",
			"sys/fs/cgroup/memory/docker/1234/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":             "9223372036854771712\n",
		}, 64 << 20},
		{"v1 in a container that sees the path of the host", map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/1234\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		}, 64 << 20},
		{"v1, two controllers in one hierarchy", map[string]string{
			"proc/self/cgroup": "4:cpuset,memory:/a\n",
			"sys/fs/cgroup/cpuset,memory/a/memory.limit_in_bytes": "3000000\n",
		}, 3000000},
		{"v1 for memory beside v2", map[string]string{
			"proc/self/cgroup": "4:memory:/a\n0::/b\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000000\n",
			"sys/fs/cgroup/unified/b/memory.max":           "max\n",
		}, 3000000},
		{"nonsense", map[string]string{"proc/self/cgroup": "memory\n\n0::/\n", "sys/fs/cgroup/memory.max": "-5\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range test.files {
				testkit.Write(t, []byte(content), filepath.Join(root, name))
			}
			if got, file := cgroupMemory(root); got != test.want || (file != "") != (got > 0) {
				t.Errorf("limit of %d bytes in %q, want %d", got, file, test.want)
			}
		})
	}
}

func TestLimitOfLambda(t *testing.T) {
	env := map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}
	if got, _ := Memory(func(name string) string { return env[name] }); got <= 0 || got > 128<<20 {
		t.Errorf("limit of %d bytes in a function of 128 MB", got)
	}
}

func TestCgroupProcessors(t *testing.T) {
	for _, test := range []struct {
		name     string
		files    map[string]string
		want     float64
		versions string
	}{
		{"no cgroups", nil, 0, ""},
		{"v2", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, "v2"},
		{"v2, unlimited", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 0, "v2"},
		{"v2, the limit of a parent", map[string]string{
			"proc/self/cgroup":            "0::/a/b\n",
			"sys/fs/cgroup/a/cpu.max":     "100000 100000\n",
			"sys/fs/cgroup/a/b/cpu.max":   "400000 100000\n",
			"sys/fs/cgroup/a/b/cpu.stat":  "",
			"sys/fs/cgroup/a/b/other.max": "1 100000\n",
		}, 1, "v2"},
		{"v1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n0::/\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us":  "150000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
		}, 1.5, "v1 and v2"},
		{"v1, unlimited", map[string]string{
			"proc/self/cgroup":                    "1:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 0, "v1"},
		{"nonsense", map[string]string{"proc/self/cgroup": "cpu\n0::/\n", "sys/fs/cgroup/cpu.max": "1 0\n"}, 0, "v2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range test.files {
				testkit.Write(t, []byte(content), filepath.Join(root, name))
			}
			if got, file := cgroupProcessors(root); got != test.want || (file != "") != (got > 0) {
				t.Errorf("limit of %g processors in %q, want %g", got, file, test.want)
			}
			if got := cgroupVersions(root); got != test.versions {
				t.Errorf("cgroups %q, want %q", got, test.versions)
			}
		})
	}
}
