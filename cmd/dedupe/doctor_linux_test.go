package main

import (
	"slices"
	"strings"
	"testing"

	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/mount"
)

// TestMountAdvice reads lines of /proc/self/mountinfo, and expects advice about these.
func TestMountAdvice(t *testing.T) {
	const (
		efs         = "nfs4 fs-0123.efs.us-east-1.amazonaws.com:/ rw,"
		recommended = "vers=4.1,rsize=1048576,wsize=1048576,namlen=255,hard,noresvport,proto=tcp,timeo=600,retrans=2"
	)
	for mounted, want := range map[string]string{
		efs + recommended: "",
		efs + recommended + ",acregmin=0,acregmax=0,acdirmin=0,acdirmax=0":     "actimeo",
		efs + recommended + ",acregmin=600,acregmax=600":                       "",
		"nfs4 host:/ rw,sync," + recommended + ",noac,acregmax=0,acdirmax=0":   "noac",
		efs + recommended + ",lookupcache=none":                                "lookupcache",
		efs + strings.Replace(recommended, "rsize=1048576", "rsize=65536", 1):  "rsize",
		efs + strings.Replace(recommended, "hard", "soft", 1):                  "soft",
		efs + strings.Replace(recommended, "hard", "softerr", 1):               "soft",
		efs + strings.Replace(recommended, "4.1", "4.0", 1):                    "nfs_version",
		efs + recommended + ",nconnect=4":                                      "nconnect",
		"nfs4 host:/ rw," + recommended + ",nconnect=4":                        "",
		efs + strings.Replace(recommended, "noresvport,", "", 1):               "noresvport",
		"nfs4 host:/ rw," + strings.Replace(recommended, "noresvport,", "", 1): "",
		"nfs host:/ rw,vers=3,rsize=32768,soft":                                "rsize soft",
		"ext4 /dev/sda1 rw,noac,rsize=1":                                       "",
		"tmpfs t rw":                                                           "",
		"debugfs d rw":                                                         "pseudo_file_system",
	} {
		on, _, err := mount.Parse("30 22 0:40 / /mnt/efs rw,noatime shared:1 - " + mounted + "\n").Of("/mnt/efs/dir")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range mountAdvice(on) {
			got = append(got, a.ID)
			if a.Problem == "" || a.Change == "" {
				t.Errorf("%s: %+v", mounted, a)
			}
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: advice about %q, want %q", mounted, got, want)
		}
	}
}

// TestIndexAdvice gives for each reason a remedy that helps.
func TestIndexAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"--index-id":      &index.PlaceError{Path: "/mnt", Err: &mount.TunnelError{Point: "/mnt", Source: "127.0.0.1:/"}},
		"nfsvers=4.1":     &index.PlaceError{Path: "/mnt", Err: &mount.TypeError{Kind: "nfs"}},
		"without --index": &index.PlaceError{Path: "/mnt", Err: &mount.TypeError{Kind: "overlay"}},
		"Linux 6.6":       &index.PlaceError{Path: "/mnt", Err: mount.ErrNameless},
	} {
		if all := indexAdvice(err); len(all) != 1 || !strings.Contains(all[0].Change, want) || !strings.Contains(all[0].Problem, `"/mnt"`) {
			t.Errorf("%v: %+v, want %s", err, all, want)
		}
	}
	if all := indexAdvice(nil); len(all) != 0 {
		t.Errorf("%+v without a reason", all)
	}
}

// TestMachineAdvice names each limit that holds a scan back.
func TestMachineAdvice(t *testing.T) {
	few, many := 20, 5000
	for want, m := range map[string]machineFacts{
		"":           {ProcessorLimit: 1, MemoryLimit: 1 << 30, Threads: &many},
		"processors": {ProcessorLimit: 0.5, ProcessorsFrom: "/sys/fs/cgroup/cpu.max"},
		"memory":     {MemoryLimit: 64 << 20, MemoryFrom: "/sys/fs/cgroup/memory.max"},
		"threads":    {Threads: &few},
	} {
		var got []string
		for _, a := range m.advice() {
			got = append(got, a.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v: advice about %q, want %q", m, got, want)
		}
	}
}
