//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

const nodeCount = 5

// bench is one run of the program.
type bench struct {
	nodes    *redisserver.Nodes
	clients  []*redis.Client // beside the libraries, to look at what is on the nodes
	duration time.Duration   // of a turn
	serial   int             // for keys that nobody has used
}

func (b *bench) key(name string) string {
	b.serial++
	return fmt.Sprintf("%s:%d", name, b.serial)
}

// workload is one row of the table.
type workload struct {
	name  string
	what  string
	names []string // who takes part
	turn  func(b *bench, name string) (sample, error)
}

var everybody = []string{ours, syncing, failFast, rueidi, bsm}

var workloads = []workload{
	{"solo", "one goroutine, lock and unlock", everybody, plain("solo", 1, false)},
	{"wide 8", "8 goroutines, each on a key of its own", everybody, plain("wide", 8, false)},
	{"wide 64", "64 goroutines, each on a key of its own", everybody, plain("wide", 64, false)},
	{"wide 256", "256 goroutines, each on a key of its own", append(slices.Clone(everybody), raw), plain("wide", 256, false)},
	{"wide 1024", "1,024 goroutines, each on a key of its own", everybody, plain("wide", 1024, false)},
	{"hot", "64 goroutines of one process on one key; latency is the wait for it", []string{ours, syncing, rueidi, bsm}, plain("hot", 64, true)},
	{"hot across", "6 processes of 4 goroutines on one key; latency is the wait for it", []string{ours, syncing, rueidi, bsm}, across},
	{"takeover", "the holder is killed with SIGKILL; latency is from the expiry of its key to the next holder", []string{ours, syncing, rueidi, bsm}, takeover},
	{"healthy", "8 goroutines, all nodes well: what the next is compared with", []string{ours, syncing, failFast}, plain("healthy", 8, false)},
	{"frozen", "8 goroutines, one node frozen for longer than its time-out", []string{ours, syncing, failFast}, frozen},
}

// plain is a workload of one process.
func plain(name string, workers int, shared bool) func(*bench, string) (sample, error) {
	return func(b *bench, who string) (sample, error) {
		t := traffic{Key: b.key(name), Workers: workers, Shared: shared, For: b.duration}
		if who == raw {
			return b.ceiling(t)
		}
		l, err := openers[who](b.nodes.URLs(), ttl)
		if err != nil {
			return sample{}, err
		}
		defer l.close()
		warm := t
		warm.Key, warm.For = b.key("warm"), b.duration/5
		drive(l, warm)
		return drive(l, t), nil
	}
}

// across runs the workers in processes of their own, which begin together.
func across(b *bench, who string) (sample, error) {
	const processes, each = 6, 4
	t := traffic{Key: b.key("across"), Workers: each, Shared: true, For: b.duration}
	var all []*child
	defer func() {
		for _, c := range all {
			c.end()
		}
	}()
	for range processes {
		c, err := startChild(order{Name: who, URLs: b.nodes.URLs(), TTL: ttl, Traffic: t})
		if err != nil {
			return sample{}, err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.awaitReady(); err != nil {
			return sample{}, err
		}
	}
	for _, c := range all {
		if err := c.begin(); err != nil {
			return sample{}, err
		}
	}
	parts, errs := make([]sample, processes), make([]error, processes)
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { parts[i], errs[i] = c.result() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return sample{}, err
		}
	}
	return merge(parts), nil
}

// takeover kills holders while somebody waits, and measures from when the key was free on a majority.
func takeover(b *bench, who string) (sample, error) {
	const short, times = 2 * time.Second, 3
	var s sample
	began := time.Now()
	for range times {
		key := b.key("takeover")
		late, err := b.takeOver(who, key, short)
		if err != nil {
			return sample{}, err
		}
		s.Latencies = append(s.Latencies, late)
	}
	s.PerWorker, s.Elapsed = []int{times}, time.Since(began)
	return s, nil
}

func (b *bench) takeOver(who, key string, ttl time.Duration) (time.Duration, error) {
	holder, err := startChild(order{Name: who, URLs: b.nodes.URLs(), TTL: ttl, Hold: key})
	if err != nil {
		return 0, err
	}
	defer holder.end()
	if err := holder.awaitReady(); err != nil { // it has the key
		return 0, err
	}
	l, err := openers[who](b.nodes.URLs(), ttl)
	if err != nil {
		return 0, err
	}
	defer l.close()
	holder.end()
	free, err := b.freeAt(l.keys(key))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var had time.Time
	err = l.under(ctx, key, func(int64) { had = time.Now() })
	return had.Sub(free), err
}

// freeAt is when more than half of the keys, on the nodes or on the one where they are, will have expired.
func (b *bench) freeAt(keys []string) (time.Time, error) {
	var at []time.Time
	for _, client := range b.clients {
		for _, key := range keys {
			asked := time.Now()
			left, err := client.PTTL(context.Background(), key).Result()
			if err != nil {
				return time.Time{}, err
			}
			if left > 0 {
				at = append(at, asked.Add(left))
			}
		}
	}
	if len(at) == 0 {
		return time.Time{}, fmt.Errorf("nobody holds any of %q", keys)
	}
	slices.SortFunc(at, time.Time.Compare)
	return at[len(at)/2], nil
}

// frozen measures beside a node that was stopped in the middle of the traffic.
func frozen(b *bench, who string) (sample, error) {
	l, err := openers[who](b.nodes.URLs(), ttl)
	if err != nil {
		return sample{}, err
	}
	defer l.close()
	during := drive(l, traffic{Key: b.key("warm"), Workers: 8, For: b.duration / 5})
	b.nodes.Pause(nodeCount - 1)
	defer b.nodes.Resume(nodeCount - 1)
	first := drive(l, traffic{Key: b.key("freezing"), Workers: 8, For: b.duration / 2}) // the time-out is in it
	s := drive(l, traffic{Key: b.key("frozen"), Workers: 8, For: b.duration})
	for _, before := range []sample{during, first} {
		s.fail(before.Error, before.Failed)
		s.Broken = append(s.Broken, before.Broken...)
	}
	return s, nil
}

// ceiling sends the scripts of one acquisition and one release to each node in large batches, and counts what all of them
// have taken in.
func (b *bench) ceiling(t traffic) (sample, error) {
	const batch, pipes = 512, 2 // two on their way to each node, so that neither side waits for the other
	ctx := context.Background()
	acquire, release, err := b.loadScripts(ctx)
	if err != nil {
		return sample{}, err
	}
	counts, errs := make([]int, nodeCount*pipes), make([]error, nodeCount*pipes)
	cpu, began := cpuTime(), time.Now()
	var wg sync.WaitGroup
	for i := range counts {
		client, key := b.clients[i/pipes], fmt.Sprintf("lock:%s:%d", t.Key, i%pipes)
		wg.Go(func() {
			for time.Since(began) < t.For {
				_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
					for j := range batch / 2 {
						k := fmt.Sprintf("%s:%d", key, j)
						keys, value := []string{k, "{" + k + "}:fence", "{" + k + "}:queue", "{" + k + "}:next"}, "process/nonce/"
						p.EvalSha(ctx, acquire, keys, value, ttl.Milliseconds(), 64, time.Now().UnixMicro(), "process", 86400000, 60000, 0, "1")
						p.EvalSha(ctx, release, keys, value, 20, "0")
					}
					return nil
				})
				if err != nil {
					errs[i] = err
					return
				}
				counts[i] += batch / 2
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return sample{}, err
		}
	}
	took := time.Since(began)
	slowest := counts[0] + counts[1]
	for node := range nodeCount {
		slowest = min(slowest, counts[node*pipes]+counts[node*pipes+1])
	}
	return sample{
		Elapsed: took, CPU: cpuTime() - cpu, PerWorker: []int{slowest},
		Latencies: []time.Duration{took / time.Duration(max(slowest, 1))},
	}, nil
}

// loadScripts gives the nodes the scripts as package mutex sends them, and returns their hashes.
func (b *bench) loadScripts(ctx context.Context) (acquire, release string, err error) {
	var text [3]string
	for i, name := range []string{"acquire", "wake", "release"} {
		src, err := os.ReadFile("../mutex/scripts/" + name + ".lua")
		if err != nil {
			return "", "", fmt.Errorf("run this from its own folder, as go -C benchmarks run . does: %w", err)
		}
		text[i] = string(src)
	}
	for _, client := range b.clients {
		if acquire, err = client.ScriptLoad(ctx, text[0]).Result(); err != nil {
			return "", "", err
		}
		if release, err = client.ScriptLoad(ctx, text[1]+text[2]).Result(); err != nil {
			return "", "", err
		}
	}
	return acquire, release, nil
}
