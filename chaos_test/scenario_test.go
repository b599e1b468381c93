//go:build unix

package chaos_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
)

const (
	nodeCount   = 5
	clientCount = 3
)

// scenario is one row: traffic under faults.
type scenario struct {
	name  string
	nodes nodeKind
	// unseen: a node forgets without a restart, which nobody can see. That can break exclusion, as package cluster says,
	// but not the order of tokens, nor what the store makes of it.
	unseen bool
	// fragile: it can break that an acknowledged checkpoint is found.
	fragile bool
	// late is how much longer than it should a key may live on a node, because a clock was put back.
	late   time.Duration
	tempo  tempo
	length time.Duration
	script script
}

var (
	steady = tempo{TTL: time.Second, MaxTTL: 2 * time.Second, NodeTimeout: 150 * time.Millisecond}
	// patient is for nodes that are slow to answer, as those are under libfaketime, some of which cannot be reached besides.
	patient = tempo{TTL: 1500 * time.Millisecond, MaxTTL: 2 * time.Second, NodeTimeout: 400 * time.Millisecond}
	// brisk is for rows that have to wait for restarted nodes to vote again.
	brisk = tempo{TTL: 800 * time.Millisecond, MaxTTL: time.Second, NodeTimeout: 150 * time.Millisecond}
)

var scenarios = []scenario{
	{
		name: "a node crashes and forgets", tempo: brisk, length: 3 * time.Second,
		script: series(quarantine, func(r *rand.Rand, _ tempo) fault {
			return fault{kind: crash, nodes: some(r, 1), client: everybody, lasts: between(r, 20*time.Millisecond, 400*time.Millisecond)}
		}),
	},
	{
		// The lock of the client that is cut off stands on three nodes, one of which forgets it.
		name: "a node forgets what a client has there and not elsewhere", tempo: brisk, length: 4 * time.Second,
		script: series(quarantine, func(r *rand.Rand, t tempo) fault {
			nodes := r.Perm(nodeCount)
			forget := fault{kind: crash, nodes: nodes[:1], client: everybody}
			return fault{
				kind: oneOf(r, cut, vanish), nodes: nodes[1:3], client: r.IntN(clientCount), lasts: between(r, t.TTL*3/2, t.TTL*2), amid: &forget,
			}
		}),
	},
	{
		name: "nodes crash and remember", nodes: nodeKind{memory: everything}, tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, _ tempo) fault {
			return fault{kind: crash, nodes: minority(r), client: everybody, lasts: between(r, 20*time.Millisecond, 400*time.Millisecond)}
		}),
	},
	{
		name: "a node freezes", tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{kind: freeze, nodes: minority(r), client: everybody, lasts: between(r, 50*time.Millisecond, t.TTL*3/2)}
		}),
	},
	{
		name: "a minority is cut off", tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{
				kind: oneOf(r, cut, vanish, deafen, unheard, mute), nodes: minority(r), client: everybody,
				lasts: between(r, 100*time.Millisecond, t.TTL*3/2),
			}
		}),
	},
	{
		name: "a client is cut off from a majority", tempo: brisk, length: 5 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{
				kind: oneOf(r, cut, vanish, deafen, unheard, mute), nodes: some(r, nodeCount/2+1+r.IntN(2)), client: r.IntN(clientCount),
				lasts: between(r, t.TTL, t.TTL*2),
			}
		}),
	},
	{
		name: "links are slow and lose connections", tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, _ tempo) fault {
			return fault{
				kind: oneOf(r, slow, slowTo, slowFrom, snap), nodes: some(r, nodeCount), client: oneOf(r, everybody, r.IntN(clientCount)),
				lasts: between(r, 200*time.Millisecond, 800*time.Millisecond),
			}
		}),
	},
	{
		name: "servers refuse", tempo: steady, length: 4 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{
				kind: oneOf(r, full, barred, crowded, unlearn), nodes: minority(r), client: everybody,
				lasts: between(r, 100*time.Millisecond, t.TTL),
			}
		}),
	},
	{
		name: "a node is emptied by hand", unseen: true, tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, _ tempo) fault {
			return fault{kind: emptied, nodes: some(r, 1), client: everybody, lasts: upTo(r, settling)}
		}),
	},
	{
		// It may have forgotten and says so: its vote for a lock does not count for a while. What it knows of checkpoints does.
		name: "a node loses the end of its file", nodes: nodeKind{memory: mostOfIt}, fragile: true, tempo: brisk, length: 3 * time.Second,
		script: series(quarantine, func(r *rand.Rand, _ tempo) fault {
			return fault{kind: torn, nodes: some(r, 1), client: everybody, lasts: between(r, 20*time.Millisecond, 400*time.Millisecond), part: r.Float64()}
		}),
	},
	{
		name: "the disk of a node is full", nodes: nodeKind{memory: mostOfIt, small: true}, tempo: brisk, length: 4 * time.Second,
		script: series(quarantine, func(r *rand.Rand, t tempo) fault {
			return fault{kind: oneOf(r, filled, choked), nodes: some(r, 1), client: everybody, lasts: between(r, 100*time.Millisecond, t.TTL)}
		}),
	},
	{
		name: "two nodes are emptied by hand", unseen: true, tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{kind: emptied, nodes: some(r, 2), client: everybody, lasts: upTo(r, t.TTL)}
		}),
	},
	{
		// All keys of the node expire at once, or live on for so much longer.
		name: "the clock of a node jumps", nodes: nodeKind{clocks: slices.Repeat([]string{"+0"}, nodeCount)}, unseen: true, late: jump,
		tempo: patient, length: 5 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{kind: jumped, nodes: some(r, 1), client: everybody, lasts: between(r, t.TTL/10, t.TTL*3/2), shows: oneOf(r, -jump, jump)}
		}),
	},
	{
		// By less than the margin of 1 % of the TTL, each at a pace of its own, while some cannot be reached.
		name: "the clocks of nodes drift", nodes: nodeKind{clocks: []string{"+0 x0.995", "+0 x0.998", "+0 x1.001", "+0 x1.003", "+0 x1.005"}},
		tempo: patient, length: 5 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{kind: oneOf(r, freeze, cut, mute), nodes: minority(r), client: everybody, lasts: between(r, 100*time.Millisecond, t.TTL*3/2)}
		}),
	},
	{
		name: "a client is killed", tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, _ tempo) fault {
			return fault{kind: killing, client: r.IntN(clientCount), lasts: between(r, 0, 500*time.Millisecond)}
		}),
	},
	{
		name: "a client sleeps past its TTL", tempo: steady, length: 3 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			return fault{kind: stopping, client: r.IntN(clientCount), lasts: between(r, t.TTL*11/10, t.TTL*2)}
		}),
	},
	{
		name: "rolling restart", tempo: brisk,
		script: rolling(quarantine, crash),
	},
	{
		name: "one thing after another", nodes: nodeKind{memory: everything}, tempo: steady, length: 4 * time.Second,
		script: series(short, func(r *rand.Rand, t tempo) fault {
			f := fault{
				kind:  oneOf(r, crash, freeze, cut, vanish, deafen, unheard, mute, slow, snap, unlearn),
				nodes: minority(r), client: everybody,
			}
			if r.IntN(4) == 0 {
				f = fault{kind: oneOf(r, killing, stopping), client: r.IntN(clientCount)}
			}
			f.lasts = between(r, 50*time.Millisecond, t.TTL*3/2)
			return f
		}),
	},
}

// jump is how far the clock of a node jumps.
const jump = 10 * time.Second

func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	switch _, err := theBackend(); {
	case errors.Is(err, errNoNodes):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	seed, rounds := firstSeed(t), time.Duration(0)
	if text := os.Getenv("REDLOCK_CHAOS_DURATION"); text != "" {
		var err error
		if rounds, err = time.ParseDuration(text); err != nil {
			t.Fatalf("REDLOCK_CHAOS_DURATION: %v", err)
		}
	}
	var table table
	for start := time.Now(); ; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for _, sc := range scenarios {
				t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
					t.Parallel()
					sc.run(t, seed, &table)
				})
			}
		})
		if time.Since(start) >= rounds { // also after a failure: a soak shows how often
			break
		}
	}
	t.Log("\n" + table.String())
}

// firstSeed is the seed that the environment gives, or a random one.
func firstSeed(t *testing.T) uint64 {
	text := os.Getenv("REDLOCK_CHAOS_SEED")
	if text == "" {
		return rand.Uint64N(1 << 32)
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("REDLOCK_CHAOS_SEED: %v", err)
	}
	return seed
}

// run makes one history of the scenario and judges it.
func (sc scenario) run(t *testing.T, seed uint64, sum *table) {
	h := &history{Scenario: sc.name, Seed: seed, TTL: int64(sc.tempo.TTL), Fragile: nodeCount/2 + 1}
	if sc.unseen {
		h.Unseen = int64(sc.tempo.TTL)
	}
	if sc.unseen || sc.fragile {
		h.Fragile = 1
	}
	sc.skipWhereItCannotBe(t)
	broken, logs, err := sc.play(t.Context(), h)
	if err != nil {
		broken = append(broken, "the run did not go as it should: "+err.Error())
	}
	for _, c := range checks {
		for _, text := range c.check(h) {
			broken = append(broken, c.name+": "+text)
		}
	}
	if len(broken) == 0 {
		if verdict, _ := sequential(h, sequentialTimeout); verdict != "" {
			broken = append(broken, verdict)
		}
	}
	_, excused := h.overlaps()
	sum.add(sc.name, h.tally(), excused, len(broken))
	t.Logf("%s", rowOf(h.tally(), excused, len(broken)))
	if len(broken) > 0 {
		sc.fail(t, h, broken, logs)
	}
}

// skipWhereItCannotBe skips a row where this machine cannot have its nodes. Where the environment says that there are real
// nodes, libfaketime has to be there as well, so that nobody takes the rows for passed.
func (sc scenario) skipWhereItCannotBe(t *testing.T) {
	backend, err := theBackend()
	if err != nil {
		t.Fatal(err)
	}
	switch err := backend.lacks(sc.nodes); {
	case err == nil:
	case sc.nodes.clocks != nil && strings.Contains(os.Getenv("REDLOCK_TEST_BACKENDS"), "redis"):
		t.Fatalf("REDLOCK_TEST_BACKENDS asks for real nodes, and these cannot run here: %v", err)
	default:
		t.Skip(err)
	}
}

// fail says what broke, and how to see it again.
func (sc scenario) fail(t *testing.T, h *history, broken []string, logs string) {
	const most = 20
	for _, text := range broken[:min(most, len(broken))] {
		t.Error(text)
	}
	if len(broken) > most {
		t.Errorf("and %d more", len(broken)-most)
	}
	dir := keptDir(t)
	if err := errors.Join(h.keep(dir), os.WriteFile(filepath.Join(dir, "clients.log"), []byte(logs), 0o600)); err != nil {
		t.Errorf("the history could not be kept: %v", err)
	}
	t.Errorf("the history is in %s; to repeat traffic and faults: REDLOCK_CHAOS_SEED=%d go test -run '%s' ./chaos_test",
		dir, h.Seed, strings.ReplaceAll(t.Name(), fmt.Sprintf("seed=%d", h.Seed), ""))
}

// keptDir is a directory that outlives the test.
func keptDir(t *testing.T) string {
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return t.ArtifactDir()
	}
	dir, err := os.MkdirTemp("", "redlock-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// found opens the set once, while by its MaxTTL the nodes are a new set. By that of the clients those that were started first
// are too old to be for certain, and they would have to wait.
func found(ctx context.Context, addrs []string) error {
	urls := make([]string, len(addrs))
	for i, addr := range addrs {
		urls[i] = "redis://" + addr
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// play runs nodes, clients and faults, and writes down what happened. It returns what broke beside that, and err if the run
// itself did.
func (sc scenario) play(ctx context.Context, h *history) (broken []string, logs string, err error) {
	backend, err := theBackend()
	if err != nil {
		return nil, "", err
	}
	set, err := backend.start(nodeCount, sc.nodes)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if err := found(ctx, set.Addrs()); err != nil {
		return nil, "", err
	}
	net, err := newNetwork(clientCount, set.Addrs())
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = net.close() }()
	store, err := startStore()
	if err != nil {
		return nil, "", err
	}
	defer func() { h.Accesses = store.close() }()
	drawn := rand.New(rand.NewPCG(h.Seed, hash(sc.name)))
	seeds := drawn.Uint64()
	crowd := newCrowd(clientCount, func(slot, number int) clientConfig {
		return clientConfig{Number: number, Last: slot == lastSlot, URLs: net.urls(slot), Store: store.addr(), Seed: seeds + uint64(number), Tempo: sc.tempo}
	})
	defer func() {
		crowd.close()
		broken = append(broken, crowd.collect(h)...)
		logs = crowd.logs()
	}()

	if err := spawnAll(crowd); err != nil {
		return nil, "", err
	}
	h.Start = now()
	s := &stage{nodes: set, memory: sc.nodes.memory, network: net, crowd: crowd}
	err = s.play(sc.script(drawn, sc.length, sc.tempo), sc.length)
	h.Faults = s.spans
	if err := errors.Join(err, s.close()); err != nil {
		return nil, "", fmt.Errorf("faults: %w", err)
	}
	if err := crowd.finish(30 * time.Second); err != nil {
		return nil, "", err
	}
	h.End = now()
	return leftovers(ctx, set, sc.tempo, sc.late), "", nil
}

func spawnAll(w *crowd) error {
	errs := make([]error, clientCount)
	var wg sync.WaitGroup
	for slot := range clientCount {
		wg.Go(func() { errs[slot] = w.spawn(slot) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// leftovers waits until nothing is left on the nodes but fence counters and records, which are kept on purpose, and says
// what is there for longer than it may be when the last operation is over now.
func leftovers(ctx context.Context, set nodes, t tempo, late time.Duration) (broken []string) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for start := time.Now(); ; <-again.C {
		left := 0
		for i, addr := range set.Addrs() {
			since := time.Since(start)
			keys, err := look(ctx, addr)
			if err != nil {
				return append(broken, fmt.Sprintf("node %d: %v", i, err))
			}
			for key, ttl := range keys {
				switch {
				case key == "redlock:mark": // which every node has for good
				case ttl < 0:
					broken = append(broken, fmt.Sprintf("%s on node %d lives for ever", key, i))
				case strings.HasSuffix(key, ":fence"), strings.HasSuffix(key, ":record"), strings.HasSuffix(key, ":record:promise"):
				case since > mayStay(key, t)+late:
					broken = append(broken, fmt.Sprintf("%s is left on node %d %v after the last operation, for another %v", key, i, since, ttl))
				default:
					left++
				}
			}
		}
		if left == 0 || len(broken) > 0 {
			return broken
		}
	}
}

// mayStay is how long a key may stay after the last operation. Queues and what else stands beside locks is kept for MaxTTL.
func mayStay(key string, t tempo) time.Duration {
	const looking = 100 * time.Millisecond // between the last operation and the look
	if strings.HasPrefix(key, "lock:") {
		return t.TTL + looking
	}
	return t.MaxTTL + looking
}

// look returns the keys on a node and how long each will live, less than 0 for ever.
func look(ctx context.Context, addr string) (left map[string]time.Duration, err error) {
	c := redis.NewClient(ownOptions(addr))
	defer func() { err = errors.Join(err, c.Close()) }()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	left = map[string]time.Duration{}
	for _, key := range keys {
		const gone, never = -2, -1
		switch ttl, err := c.PTTL(ctx, key).Result(); {
		case err != nil:
			return nil, err
		case ttl == never:
			left[key] = -1
		case ttl != gone:
			left[key] = ttl
		}
	}
	return left, nil
}
