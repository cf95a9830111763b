// Package dynamodb keeps an index in an Amazon DynamoDB table that many machines and
// Lambda functions share.
//
// An item is a block. Its key, the table's partition key, is 16 evenly distributed bytes;
// its other attributes are the block and when it expires. A directory of up to 128 files
// is one item of about 8 KB, so looking it up costs one read unit.
//
// The four DynamoDB operations are JSON over HTTP, and written here. The SDK's own client
// would make every start of the program 1.4 ms (60%) slower, even without an index, and
// every start of a worker process, too.
//
//	table.go   the store
//	client.go  one operation
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"efsdedupe/dedupe/index"
)

// Table is an index.Store in a DynamoDB table with the binary partition key "key". Set
// its TTL attribute to "expires". Reads are eventually consistent, except in Update. Of
// two concurrent updates of one block, one may be lost.
type Table struct {
	client
	name string
	now  func() time.Time
}

// Open returns the store in a table. Region, endpoint and credentials come from the
// environment: AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB or AWS_ENDPOINT_URL,
// AWS_ACCESS_KEY_ID and so on, or the role of the container or machine. Open sends
// nothing.
func Open(name string) (*Table, error) {
	if !isName(name) {
		return nil, fmt.Errorf("%q is not a table name: use 3 to 255 letters, digits, dots, dashes and underscores", name)
	}
	client, err := newClient(os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("can't use the index in the table %q: %w", name, err)
	}
	return &Table{client, name, time.Now}, nil
}

// isName reports whether a table can have this name. Source: Amazon DynamoDB, naming
// rules.
func isName(name string) bool {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.", r))
	}
	return len(name) >= 3 && len(name) <= 255 && !strings.ContainsFunc(name, odd)
}

// Scheme begins the name of an index in a table.
const Scheme = "dynamodb://"

// OpenNamed opens the store with a name: Scheme and a table, or a file.
func OpenNamed(name string) (index.Store, error) {
	if table, ok := strings.CutPrefix(name, Scheme); ok {
		return Open(table)
	}
	if strings.Contains(name, "://") {
		return nil, fmt.Errorf("%q is not an index: it must be %sTABLE or a file", name, Scheme)
	}
	return index.OpenLog(name)
}

// The limits of an operation. Source: Amazon DynamoDB, service quotas, and the API
// reference of BatchGetItem and BatchWriteItem. 100 blocks of at most about 100 KB stay
// below the limit of 16 MB.
const (
	maxGets   = 100
	maxWrites = 25

	// atOnce is how many operations run at once.
	atOnce = 8

	// keepFor is how long after its last write DynamoDB removes a block. Blocks in use
	// are written again every week.
	keepFor = 90 * 24 * time.Hour
)

// value is an attribute in DynamoDB's JSON.
type value struct {
	B []byte `json:"B,omitempty"`
	N string `json:"N,omitempty"`
}

type item map[string]value

// The attributes of an item.
const (
	keyName     = "key"
	blockName   = "block"
	expiresName = "expires"
)

// Items turns the Blocks of an index.Scan into items: it calls yield with the size of
// each block's item as DynamoDB counts it. That includes the names of the attributes and
// the expiry, a number of ten digits in 6 bytes. Source: Amazon DynamoDB Developer Guide,
// item sizes and formats.
func Items(blocks iter.Seq2[int64, int64]) iter.Seq2[int64, int64] {
	const others = len(keyName+blockName+expiresName) + len(index.Key{}) + 6
	return func(yield func(bytes, files int64) bool) {
		for bytes, files := range blocks {
			if !yield(bytes+int64(others), files) {
				return
			}
		}
	}
}

func itemOf(key index.Key) item { return item{keyName: {B: key[:]}} }

// capacity is what operations cost.
type capacity []struct {
	CapacityUnits float64
}

func (c capacity) sum() (units float64) {
	for _, table := range c {
		units += table.CapacityUnits
	}
	return units
}

// Get implements index.Store.
func (t *Table) Get(ctx context.Context, keys []index.Key) (map[index.Key][]byte, index.Units, error) {
	return t.get(ctx, keys, false)
}

func (t *Table) get(ctx context.Context, keys []index.Key, consistent bool) (map[index.Key][]byte, index.Units, error) {
	blocks := make(map[index.Key][]byte)
	var units index.Units
	var mu sync.Mutex
	err := t.inBatches(ctx, keys, maxGets, func(ctx context.Context, keys []index.Key) error {
		return t.getBatch(ctx, keys, consistent, func(found []item, read float64) {
			mu.Lock()
			defer mu.Unlock()
			units.Read += read
			for _, i := range found {
				if key := i[keyName].B; len(key) == len(index.Key{}) {
					blocks[index.Key(key)] = i[blockName].B
				}
			}
		})
	})
	return blocks, units, err
}

// inBatches calls do with at most n keys at a time, several calls at once.
func (t *Table) inBatches(ctx context.Context, keys []index.Key, n int, do func(context.Context, []index.Key) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for batch := range slices.Chunk(keys, n) {
		group.Go(func() error { return do(ctx, batch) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("the index in the table %q: %w", t.name, err)
	}
	return nil
}

// wanted is the keys of one BatchGetItem.
type wanted struct {
	Keys           []item
	ConsistentRead bool `json:",omitempty"`
}

func (t *Table) getBatch(ctx context.Context, keys []index.Key, consistent bool, take func([]item, float64)) error {
	want := wanted{ConsistentRead: consistent}
	for _, key := range keys {
		want.Keys = append(want.Keys, itemOf(key))
	}
	request := map[string]wanted{t.name: want}
	return t.untilDone(ctx, func() (left int, err error) {
		in := struct {
			RequestItems           map[string]wanted
			ReturnConsumedCapacity string
		}{request, "TOTAL"}
		var out struct {
			Responses        map[string][]item
			UnprocessedKeys  map[string]wanted
			ConsumedCapacity capacity
		}
		if err := t.call(ctx, "BatchGetItem", in, &out); err != nil {
			return 0, err
		}
		take(out.Responses[t.name], out.ConsumedCapacity.sum())
		request = out.UnprocessedKeys
		return len(request[t.name].Keys), nil
	})
}

// Update implements index.Store.
func (t *Table) Update(ctx context.Context, keys []index.Key, change func(key index.Key, old []byte) []byte) (index.Units, error) {
	old, units, err := t.get(ctx, keys, true)
	if err != nil {
		return units, err
	}
	var mu sync.Mutex
	err = t.inBatches(ctx, keys, maxWrites, func(ctx context.Context, keys []index.Key) error {
		var writes []write
		for _, key := range keys {
			if w, ok := t.write(key, old[key], change(key, old[key])); ok {
				writes = append(writes, w)
			}
		}
		return t.writeBatch(ctx, writes, func(written float64) {
			mu.Lock()
			defer mu.Unlock()
			units.Write += written
		})
	})
	return units, err
}

// write is one write of a BatchWriteItem.
type write struct {
	PutRequest    *put     `json:",omitempty"`
	DeleteRequest *removal `json:",omitempty"`
}

type put struct{ Item item }

type removal struct{ Key item }

// write returns the write that replaces the old block; ok is false if nothing changes.
func (t *Table) write(key index.Key, old, block []byte) (w write, ok bool) {
	i := itemOf(key)
	if block == nil {
		return write{DeleteRequest: &removal{i}}, old != nil
	}
	i[blockName] = value{B: block}
	i[expiresName] = value{N: fmt.Sprint(t.now().Add(keepFor).Unix())}
	return write{PutRequest: &put{i}}, true
}

func (t *Table) writeBatch(ctx context.Context, writes []write, take func(float64)) error {
	if len(writes) == 0 {
		return nil
	}
	request := map[string][]write{t.name: writes}
	return t.untilDone(ctx, func() (left int, err error) {
		in := struct {
			RequestItems           map[string][]write
			ReturnConsumedCapacity string
		}{request, "TOTAL"}
		var out struct {
			UnprocessedItems map[string][]write
			ConsumedCapacity capacity
		}
		if err := t.call(ctx, "BatchWriteItem", in, &out); err != nil {
			return 0, err
		}
		take(out.ConsumedCapacity.sum())
		request = out.UnprocessedItems
		return len(request[t.name]), nil
	})
}

// All implements index.Store.
func (t *Table) All(ctx context.Context, yield func(key index.Key, block []byte) bool) error {
	in := struct {
		TableName         string
		ExclusiveStartKey item `json:",omitempty"`
	}{TableName: t.name}
	for {
		var out struct {
			Items            []item
			LastEvaluatedKey item
		}
		if err := t.call(ctx, "Scan", in, &out); err != nil {
			return fmt.Errorf("the index in the table %q: %w", t.name, err)
		}
		for _, i := range out.Items {
			if key := i[keyName].B; len(key) == len(index.Key{}) && !yield(index.Key(key), i[blockName].B) {
				return nil
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = maps.Clone(out.LastEvaluatedKey)
	}
}

// Files implements index.Store. There are none.
func (*Table) Files() []os.FileInfo { return nil }

// Close implements index.Store.
func (t *Table) Close() error {
	t.CloseIdleConnections()
	return nil
}

// errBusy is the error of a table that leaves work undone however often it is asked.
var errBusy = errors.New("it gets more requests than it can serve: choose on-demand capacity, or provision more")
