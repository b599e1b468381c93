//go:build unix

package chaos

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// How many nodes and clients a scenario has.
const (
	NodeCount   = 5
	ClientCount = 3
)

// Scenario is one row: traffic under faults.
type Scenario struct {
	Name  string
	Nodes NodeKind
	// Unseen: a node forgets without a restart, which nobody can see. That can break exclusion, as package cluster says,
	// but not the order of tokens, nor what the store makes of it.
	Unseen bool
	// Fragile: it can break that an acknowledged checkpoint is found.
	Fragile bool
	// Late is how much longer than it should a key may live on a node, because a clock was put back.
	Late   time.Duration
	Tempo  Tempo
	Length time.Duration
	Script Script
}

// Run makes one history of the scenario and judges it.
func (sc Scenario) Run(t *testing.T, b *Backend, seed uint64, sum *Table) {
	h := &history{Scenario: sc.Name, Seed: seed, TTL: int64(sc.Tempo.TTL), Fragile: NodeCount/2 + 1}
	if sc.Unseen {
		h.Unseen = int64(sc.Tempo.TTL)
	}
	if sc.Unseen || sc.Fragile {
		h.Fragile = 1
	}
	sc.SkipWhereItCannotBe(t, b)
	broken, logs, err := sc.play(t.Context(), b, h)
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
	sum.add(sc.Name, h.tally(), excused, len(broken))
	t.Logf("%s", rowOf(h.tally(), excused, len(broken)))
	if len(broken) > 0 {
		sc.fail(t, h, broken, logs)
	}
}

// SkipWhereItCannotBe skips a row where this machine cannot have its nodes. Where the environment says that there are real
// nodes, libfaketime has to be there as well, so that nobody takes the rows for passed.
func (sc Scenario) SkipWhereItCannotBe(t *testing.T, b *Backend) {
	switch err := b.Lacks(sc.Nodes); {
	case err == nil:
	case sc.Nodes.Clocks != nil && strings.Contains(os.Getenv("REDLOCK_TEST_BACKENDS"), "redis"):
		t.Fatalf("REDLOCK_TEST_BACKENDS asks for real nodes, and these cannot run here: %v", err)
	default:
		t.Skip(err)
	}
}

// fail says what broke, and how to see it again.
func (sc Scenario) fail(t *testing.T, h *history, broken []string, logs string) {
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
func (sc Scenario) play(ctx context.Context, b *Backend, h *history) (broken []string, logs string, err error) {
	set, err := b.Start(NodeCount, sc.Nodes)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if err := found(ctx, set.Addrs()); err != nil {
		return nil, "", err
	}
	net, err := newNetwork(ClientCount, set.Addrs())
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = net.close() }()
	store, err := startStore()
	if err != nil {
		return nil, "", err
	}
	defer func() { h.Accesses = store.close() }()
	drawn := rand.New(rand.NewPCG(h.Seed, hash(sc.Name)))
	seeds := drawn.Uint64()
	crowd := newCrowd(ClientCount, func(slot, number int) clientConfig {
		return clientConfig{Number: number, Last: slot == lastSlot, URLs: net.urls(slot), Store: store.addr(), Seed: seeds + uint64(number), Tempo: sc.Tempo}
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
	s := &stage{nodes: set, memory: sc.Nodes.Memory, network: net, crowd: crowd}
	err = s.play(sc.Script(drawn, sc.Length, sc.Tempo), sc.Length)
	h.Faults = s.spans
	if err := errors.Join(err, s.close()); err != nil {
		return nil, "", fmt.Errorf("faults: %w", err)
	}
	if err := crowd.finish(30 * time.Second); err != nil {
		return nil, "", err
	}
	h.End = now()
	return leftovers(ctx, set, sc.Tempo, sc.Late), "", nil
}

func spawnAll(w *crowd) error {
	errs := make([]error, ClientCount)
	var wg sync.WaitGroup
	for slot := range ClientCount {
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
