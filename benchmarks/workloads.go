//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

const ttl = 10 * time.Second

// raw is the scripts of this module without a lock around them.
const raw = "ceiling"

// workload is one load that contenders are measured under.
type workload struct {
	name   string
	what   string
	peers  []string // the libraries that take part in the comparison with others; nil if it has no such workload
	paired bool     // part of the comparison of two revisions
	late   bool     // about latency: the rate only says how long a TTL is
	mode   string   // the library the others are compared with, where a mode is measured; "" is turn.Redlock
	also   []column // in the table of its rows
	turn   func(s *stage) (turn.Sample, error)
}

// subject is the library that the others are compared with.
func (w workload) subject() string { return cmp.Or(w.mode, turn.Redlock) }

var (
	everybody = []string{turn.Redlock, turn.Redsync, turn.RedsyncFast, turn.Rueidislock, turn.Redislock}
	patient   = []string{turn.Redlock, turn.Redsync, turn.Rueidislock, turn.Redislock}
	majority  = []string{turn.Redlock, turn.Redsync, turn.RedsyncFast}
)

var workloads = []workload{
	{name: "solo", what: "one goroutine, lock and unlock", peers: everybody, paired: true, turn: plain(1, turn.Own)},
	{name: "wide 8", what: "8 goroutines, each on a key of its own", peers: everybody, turn: plain(8, turn.Own)},
	{name: "wide 64", what: "64 goroutines, each on a key of its own", peers: everybody, turn: plain(64, turn.Own)},
	{name: "wide 256", what: "256 goroutines, each on a key of its own", peers: append(slices.Clone(everybody), raw), paired: true, turn: plain(256, turn.Own)},
	{name: "wide 1024", what: "1,024 goroutines, each on a key of its own", peers: everybody, turn: plain(1024, turn.Own)},
	{name: "fresh", what: "256 goroutines, each key locked once", paired: true, turn: plain(256, turn.Fresh)},
	{name: "hot", what: "64 goroutines of one process on one key; latency is the wait for it", peers: patient, paired: true, turn: plain(64, turn.Shared)},
	{name: "hot across", what: "6 processes of 4 goroutines on one key; latency is the wait for it", peers: patient, paired: true, turn: across},
	{name: "takeover", what: "the holder is killed with SIGKILL; latency is from the expiry of its key to the next holder", peers: patient, late: true, turn: takeover},
	{name: "healthy", what: "8 goroutines, all nodes healthy: the reference for the next one", peers: majority, turn: plain(8, turn.Own)},
	{name: "frozen", what: "8 goroutines, one node frozen for longer than its timeout", peers: majority, paired: true, turn: frozen},
	{name: "leases", what: "10,000 leases, each renewed every second; an operation is one renewal", paired: true, turn: leases},

	{name: "modes readers", what: "64 goroutines of one process on one key, all of which read; latency is the wait for it",
		mode: turn.Sharing, peers: []string{turn.Sharing, turn.Redlock}, turn: alone(turn.Traffic{Workers: 64, Keys: turn.Shared, Reads: 10})},
	{name: "modes mixed", what: "6 processes of 4 goroutines on one key for 2 ms, 9 of 10 times to read; latency is the wait for it",
		mode: turn.Sharing, peers: []string{turn.Sharing, turn.Redlock}, also: []column{leastReads, leastWrites, mostAtOnce}, turn: mixed},
	{name: "modes limit", what: "64 goroutines of one process, of which 8 at once have work of 5 ms; latency is the wait for it",
		mode: turn.Limited, peers: []string{turn.Limited, turn.Semaphore}, also: []column{inUse, mostAtOnce}, turn: limited},
	{name: "modes keys", what: "one goroutine, lock and unlock, eight free keys together or one",
		mode: turn.Several, peers: []string{turn.Several, turn.Redlock}, also: []column{asLate}, turn: plain(1, turn.Own)},
	{name: "modes retained", what: "one goroutine, lock and unlock of a key that its process retains for a second",
		mode: turn.Retaining, peers: []string{turn.Retaining, turn.Redlock}, turn: plain(1, turn.Own)},
	{name: "modes retained elsewhere", what: "two processes lock a key in turn; latency is the wait for it, which the other one retains",
		mode: turn.Retaining, peers: []string{turn.Retaining, turn.Redlock, turn.RoundTrip}, late: true, turn: elsewhere},
}

// load completes a load with what all workloads have in common.
func (s *stage) load(t turn.Traffic) turn.Traffic {
	t.Key, t.For = "key", cmp.Or(t.For, s.duration)
	return t
}

func (s *stage) traffic(workers int, keys turn.Keys) turn.Traffic {
	return s.load(turn.Traffic{Keys: keys, Workers: workers})
}

// warm opens a driver and has it lock other keys for a fifth of the turn.
func (s *stage) warm(t turn.Traffic) (*driver, turn.Sample, error) {
	d, err := s.open(turn.Open{TTL: ttl})
	if err != nil {
		return nil, turn.Sample{}, err
	}
	t.Key, t.For = fmt.Sprintf("warm:%d", len(s.drivers)), s.duration/5
	sample, err := d.execute(turn.Order{Drive: &t})
	return d, sample, err
}

// drive measures a driver under traffic.
func (s *stage) drive(d *driver, t turn.Traffic) (turn.Sample, error) {
	return s.metered(func() (turn.Sample, error) { return d.execute(turn.Order{Drive: &t}) })
}

// plain is a workload of one process.
func plain(workers int, keys turn.Keys) func(*stage) (turn.Sample, error) {
	return alone(turn.Traffic{Workers: workers, Keys: keys})
}

// alone is a load of one process.
func alone(t turn.Traffic) func(*stage) (turn.Sample, error) {
	return func(s *stage) (turn.Sample, error) {
		if s.contender.library == raw {
			return s.metered(func() (turn.Sample, error) { return s.ceiling(s.duration) })
		}
		d, _, err := s.warm(t)
		if err != nil {
			return turn.Sample{}, err
		}
		return s.drive(d, s.load(t))
	}
}

// across is a hot key of six processes.
func across(s *stage) (turn.Sample, error) { return s.together(6, s.traffic(4, turn.Shared)) }

// together runs a load in each of several processes, which begin together.
func (s *stage) together(processes int, t turn.Traffic) (turn.Sample, error) {
	var all []*driver
	for range processes {
		d, _, err := s.warm(turn.Traffic{Workers: t.Workers})
		if err != nil {
			return turn.Sample{}, err
		}
		all = append(all, d)
	}
	return s.metered(func() (turn.Sample, error) {
		for _, d := range all {
			if err := d.send(turn.Order{Drive: &t}); err != nil {
				return turn.Sample{}, err
			}
		}
		parts, errs := make([]turn.Sample, processes), make([]error, processes)
		var wg sync.WaitGroup
		for i, d := range all {
			wg.Go(func() { parts[i], errs[i] = d.receive() })
		}
		wg.Wait()
		return turn.Merge(parts), errors.Join(errs...)
	})
}

// frozen measures beside a node that was stopped before.
func frozen(s *stage) (turn.Sample, error) {
	const workers = 8
	d, before, err := s.warm(s.traffic(workers, turn.Own))
	if err != nil {
		return turn.Sample{}, err
	}
	s.freeze()
	t := s.traffic(workers, turn.Own)
	t.For = s.duration / 2
	first, err := d.execute(turn.Order{Drive: &t}) // contains the timeout
	if err != nil {
		return turn.Sample{}, err
	}
	sample, err := s.drive(d, s.traffic(workers, turn.Own))
	for _, earlier := range []turn.Sample{before, first} {
		sample.Fail(earlier.Error, earlier.Failed)
		sample.Broken = append(sample.Broken, earlier.Broken...)
	}
	return sample, err
}

// leases measures the memory and the renewals of many leases. The window is a
// whole number of renewal intervals, so that each lease is renewed equally often.
// Turns of less than a second have fewer leases: 10 for each millisecond.
func leases(s *stage) (turn.Sample, error) {
	const every = time.Second
	count := int(min(10_000, 10*s.duration.Milliseconds()))
	d, err := s.open(turn.Open{TTL: 30 * time.Second, RenewEvery: every, NodeTimeout: every})
	if err != nil {
		return turn.Sample{}, err
	}
	acquired, err := d.execute(turn.Order{Acquire: &turn.Leases{Key: "lease", Count: count, Workers: 64}})
	if err != nil {
		return turn.Sample{}, err
	}
	window := max(every, s.duration.Truncate(every))
	sample, err := s.metered(func() (turn.Sample, error) { return d.execute(turn.Order{Keep: window}) })
	sample.Memory = acquired.Memory
	return sample, err
}

// takeover kills holders while another process waits, and measures from when
// the key was free on a majority.
func takeover(s *stage) (turn.Sample, error) {
	const short, times = 2 * time.Second, 3
	var sample turn.Sample
	began := time.Now()
	for i := range times {
		late, err := s.takeOver(fmt.Sprintf("takeover:%d", i), short)
		if err != nil {
			return turn.Sample{}, err
		}
		sample.Latencies = append(sample.Latencies, late)
	}
	sample.PerWorker, sample.Elapsed = []int{times}, time.Since(began)
	return sample, nil
}

func (s *stage) takeOver(key string, ttl time.Duration) (time.Duration, error) {
	holder, err := s.open(turn.Open{TTL: ttl})
	if err != nil {
		return 0, err
	}
	if _, err := holder.execute(turn.Order{Hold: key}); err != nil {
		return 0, err
	}
	next, err := s.open(turn.Open{TTL: ttl})
	if err != nil {
		return 0, err
	}
	holder.kill()
	free, err := s.freeAt(turn.RedisKeys(s.contender.library, key))
	if err != nil {
		return 0, err
	}
	defer next.kill()
	_, err = next.execute(turn.Order{Hold: key})
	return time.Since(free), err
}

// freeAt is when more than half of the keys, on all nodes or on the one that has
// them, will have expired.
func (s *stage) freeAt(keys []string) (time.Time, error) {
	var at []time.Time
	for _, client := range s.clients {
		for _, key := range keys {
			asked := time.Now()
			left, err := client.PTTL(s.ctx, key).Result()
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

// ceiling sends the scripts of one acquisition and one release to each node in
// large batches, and counts what the slowest node has executed.
func (s *stage) ceiling(duration time.Duration) (turn.Sample, error) {
	const batch, pipes = 512, 2 // two in flight to each node, so that neither side waits for the other
	ctx := s.ctx
	acquire, release, err := s.loadScripts(ctx)
	if err != nil {
		return turn.Sample{}, err
	}
	counts, errs := make([]int, nodeCount*pipes), make([]error, nodeCount*pipes)
	cpu, began := turn.CPU(), time.Now()
	var wg sync.WaitGroup
	for i := range counts {
		client, key := s.clients[i/pipes], fmt.Sprintf("lock:key:%d", i%pipes)
		wg.Go(func() {
			for time.Since(began) < duration {
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
			return turn.Sample{}, err
		}
	}
	took := time.Since(began)
	slowest := counts[0] + counts[1]
	for node := range nodeCount {
		slowest = min(slowest, counts[node*pipes]+counts[node*pipes+1])
	}
	return turn.Sample{
		Elapsed: took, CPU: turn.CPU() - cpu, PerWorker: []int{slowest},
		Latencies: []time.Duration{took / time.Duration(max(slowest, 1))},
	}, nil
}

// loadScripts loads the scripts as package mutex sends them, and returns their
// hashes.
func (s *stage) loadScripts(ctx context.Context) (acquire, release string, err error) {
	var text [4]string
	for i, name := range []string{"draw", "acquire", "wake", "release"} {
		src, err := os.ReadFile("../internal/quorumlock/scripts/" + name + ".lua")
		if err != nil {
			return "", "", fmt.Errorf("run this from its own folder, as go -C benchmarks run . does: %w", err)
		}
		text[i] = string(src)
	}
	for _, client := range s.clients {
		if acquire, err = client.ScriptLoad(ctx, text[0]+text[1]).Result(); err != nil {
			return "", "", err
		}
		if release, err = client.ScriptLoad(ctx, text[2]+text[3]).Result(); err != nil {
			return "", "", err
		}
	}
	return acquire, release, nil
}
