package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/report"
)

// finding is advice that may not apply.
type finding struct {
	applies bool
	advice
}

// applying returns the advice of those findings that apply.
func applying(all ...finding) (found []advice) {
	for _, f := range all {
		if f.applies {
			found = append(found, f.advice)
		}
	}
	return found
}

// littleMemory is a limit that 250,000 small files fit in, in bytes.
const littleMemory = 128 << 20

// advice returns what to change on the machine.
func (m *machineFacts) advice() []advice {
	fitting := (&dedupe.Engine{Mode: dedupe.Goroutines}).FittingWorkers()
	return applying(
		finding{m.ProcessorLimit > 0 && m.ProcessorLimit < 1, advice{"processors",
			fmt.Sprintf("a scan may use only %g processors, and is stopped for part of the time", m.ProcessorLimit),
			fmt.Sprintf("raise %s to at least one processor", report.Printable(m.ProcessorsFrom))}},
		finding{m.MemoryLimit > 0 && m.MemoryLimit < littleMemory, advice{"memory",
			fmt.Sprintf("%s of memory is little: a scan that finds more than fits in it fails", humanize.IBytes(uint64(m.MemoryLimit))),
			fmt.Sprintf("raise %s to %s, enough for 250,000 small files, or scan fewer files at a time", report.Printable(m.MemoryFrom), humanize.IBytes(littleMemory))}},
		finding{fitting < dedupe.DefaultWorkers, advice{"descriptors",
			fmt.Sprintf("%d descriptors are enough for only %s, and a network mount needs %d to be fast", m.Descriptors, report.Count(int64(fitting), "worker", "workers"), dedupe.DefaultWorkers),
			"raise the limit: ulimit -n 1024; if that is not permitted, the hard limit is too low, and root must raise it, for example in /etc/security/limits.conf"}},
		finding{m.Threads != nil && *m.Threads < 2*dedupe.DefaultWorkers, advice{"threads",
			"this user or container may start only a few more threads, and so fewer workers",
			"raise the limit: ulimit -u, or pids.max of the container"}},
	)
}

// accessAdvice says if this user can't read a directory or file.
func accessAdvice(path string) []advice {
	mode := uint32(unix.R_OK)
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		mode |= unix.X_OK
	}
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	return applying(finding{err != nil, advice{"access",
		fmt.Sprintf("this user can't read %s: %v", report.Printable(path), err),
		"scan as a user who may read the files, or give this one the right to"}})
}

// indexAdvice says what to do about an index that can't be used, from why it can't.
func indexAdvice(err error) []advice {
	if err == nil {
		return nil
	}
	change := "scan without --index: it can't help here"
	var kind *mount.TypeError
	switch {
	case errors.As(err, new(*mount.TunnelError)):
		change = "give --index-id fs-…, the ID of the file system, the same on every machine"
	case errors.As(err, &kind) && kind.Kind == "nfs":
		change = "mount it with nfsvers=4.1, if the server can, for scans with an index"
	case errors.Is(err, mount.ErrNameless):
		change = "use Linux 6.6 or later, or another file system, for scans with an index"
	}
	return []advice{{"index", cli.Visible(err.Error()), change}}
}

// mountAdvice returns what to change about a mount.
func mountAdvice(on *mount.Mount) []advice {
	found := applying(finding{on.IsPseudo(), advice{"pseudo_file_system",
		fmt.Sprintf("%s shows the kernel or devices, no stored files, and reading it may change the machine", on.Kind),
		"scan a directory of files"}})
	if on.IsNFS() {
		found = append(found, nfsAdvice(on)...)
	}
	return found
}

// bestRead is the largest message of an NFS READ that EFS answers, in bytes, and what
// dedupe asks for.
const bestRead = 1 << 20

// nfsAdvice returns which options of an NFS mount make scans slow, costly or unsafe. Source:
// nfs(5), and "Recommended NFS mount options" in the Amazon EFS User Guide.
func nfsAdvice(on *mount.Mount) []advice {
	options := make(map[string]string)
	for _, o := range on.Options() {
		name, value, _ := strings.Cut(o, "=")
		options[name] = value
	}
	has := func(name string) bool { _, ok := options[name]; return ok }
	rsize, _ := strconv.ParseInt(options["rsize"], 10, 64)
	connections, _ := strconv.Atoi(options["nconnect"])
	isEFS := strings.Contains(on.Source, ".efs.")
	without := func(option string) string { return "mount it without " + option }
	return applying(
		finding{has("noac"), advice{"noac",
			"noac makes every look at a file a message to the server, and each message costs time and money", without("noac")}},
		finding{!has("noac") && (options["acregmax"] == "0" || options["acdirmax"] == "0"), advice{"actimeo",
			"actimeo=0 makes every look at a file a message to the server, and each message costs time and money", without("actimeo, or with actimeo=60")}},
		finding{options["lookupcache"] == "none", advice{"lookupcache",
			"lookupcache=none makes opening a file cost a message more for each folder on its path", without("lookupcache=none")}},
		finding{rsize > 0 && rsize < bestRead, advice{"rsize",
			fmt.Sprintf("rsize=%d splits reading 1 MiB into %d messages", rsize, (bestRead+rsize-1)/max(rsize, 1)), "mount it with rsize=1048576"}},
		finding{has("soft") || has("softerr"), advice{"soft",
			"soft makes reads fail when the server is slow, and the report then lacks these files", "mount it with hard,timeo=600,retrans=2"}},
		finding{strings.HasPrefix(options["vers"], "4.0"), advice{"nfs_version",
			"NFS 4.0 sends more messages than 4.1 to open and close a file", "mount it with nfsvers=4.1"}},
		finding{isEFS && connections > 1, advice{"nconnect",
			fmt.Sprintf("nconnect=%d gains nothing: EFS limits what a client reads, not what a connection carries", connections), without("nconnect")}},
		finding{isEFS && !has("noresvport"), advice{"noresvport",
			"without noresvport, a scan may hang for minutes after the network was interrupted", "mount it with noresvport, or with the EFS mount helper"}},
	)
}
