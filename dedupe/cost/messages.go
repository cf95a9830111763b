package cost

// Messages are NFS requests other than READ and WRITE, as EFS meters them. AWS: "every NFS
// request is accounted for as 4 KB, or its actual size if larger".
type Messages struct {
	Count int64
	Bytes int64 // metered; 0 means 4 KiB each
}

func (m Messages) plus(o Messages) Messages {
	return Messages{m.Count + o.Count, m.bytes() + o.bytes()}
}

// minus is what m has beyond o, never less than nothing.
func (m Messages) minus(o Messages) Messages {
	return Messages{max(0, m.Count-o.Count), max(0, m.bytes()-o.bytes())}
}

// bytes are the metered bytes.
func (m Messages) bytes() int64 {
	if m.Bytes == 0 {
		return MeteredMetadata(m.Count)
	}
	return m.Bytes
}

// The model of what the Linux NFSv4.1 client sends for one scan, besides READ. It is fitted
// to counts of a real client (Linux 6.1) on the standard set: 208 messages cold, 203 warm.
// Tests compare it with real clients on other trees.
const (
	// rootMessages reach and open the root on a cold client: a GETATTR and an ACCESS, and a
	// LOOKUP and an ACCESS for each level below the mount. That is 4 one level down and 6
	// two levels down; 5 is off by one for both.
	rootMessages = 5

	// directoryMessages reach and open a further directory on a cold client. Its LOOKUP
	// is spared, because READDIR returns file handles.
	directoryMessages = 2

	// A warm client has the names and only revalidates attributes. Those of the root take
	// one GETATTR or two. If attributes have expired, each level above takes another: with
	// an index, which asks once more, that is 4 in all one level down and 5 two levels down.
	warmRootMessages      = 4
	warmDirectoryMessages = 1

	// fileMessages open and close a file. Both replies carry its attributes.
	fileMessages = 2

	// entryBytes is what a directory entry with its attributes takes in a READDIR reply:
	// 19.7 KB for 100 files.
	entryBytes = 197

	// The first READDIR of a directory asks Linux 6.1 for 64 KiB of entries, and each
	// further one for twice as much, up to 256 KiB. Linux 5.10 lists 100 entries at a time.
	firstReaddirBytes = 64 << 10
	mostReaddirBytes  = 256 << 10
)

// Tree is what the model needs to know about a scan.
type Tree struct {
	Files, Directories int64 // found
	Opens              int64 // files opened
}

// Cold models the messages of a scan by a client that has nothing in its cache.
func (t Tree) Cold() Messages { return t.messages(rootMessages, directoryMessages) }

// Warm models the messages of a scan by a client that has every file in its page cache.
// It still lists every directory, because only that shows what other clients changed.
func (t Tree) Warm() Messages { return t.messages(warmRootMessages, warmDirectoryMessages) }

func (t Tree) messages(root, directory int64) Messages {
	further := max(0, t.Directories-1)
	return requests(root + directory*further + fileMessages*t.Opens).plus(t.listings(t.Directories)).plus(t.relisting())
}

// relisting models the second listing of the directories in which files were opened: it
// shows that no file changed meanwhile. How many these are is unknown: at most all, and at
// most one for each open.
func (t Tree) relisting() Messages {
	return t.listings(min(t.Directories, t.Opens))
}

// listings models the READDIRs of n directories, with the entries spread evenly.
func (t Tree) listings(n int64) Messages {
	if n == 0 {
		return Messages{}
	}
	entries := t.Files + t.Directories - 1
	each, longer := entries/t.Directories, min(entries%t.Directories, n)
	short, long := readdirs(each), readdirs(each+1)
	return Messages{
		Count: (n-longer)*short.Count + longer*long.Count,
		Bytes: (n-longer)*short.Bytes + longer*long.Bytes,
	}
}

// readdirs models the READDIRs of one directory.
func readdirs(entries int64) Messages {
	bytes, m := entries*entryBytes, Messages{}
	for size := int64(firstReaddirBytes); bytes > size && size < mostReaddirBytes; size *= 2 {
		m = m.plus(Messages{1, MeteredMessage(size)})
		bytes -= size
	}
	full := max(0, bytes-1) / mostReaddirBytes
	rest := bytes - full*mostReaddirBytes
	return Messages{m.Count + full + 1, m.Bytes + full*MeteredMessage(mostReaddirBytes) + MeteredMessage(rest)}
}

// filesPerDirectory is the average, rounded up.
func (t Tree) filesPerDirectory() int64 {
	n := max(1, t.Directories)
	return (t.Files + n - 1) / n
}

// requests are n messages of at most 4 KiB.
func requests(n int64) Messages { return Messages{n, MeteredMetadata(n)} }
