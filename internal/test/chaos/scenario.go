//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/machine"
)

// How many nodes and clients a scenario has.
const (
	NodeCount   = 5
	ClientCount = 3
)

// Scenario is one row of the table: traffic under faults.
type Scenario struct {
	Name  string
	Nodes NodeKind
	// Unseen: a node loses its data without a restart, which no client can notice. That can break exclusion, as package
	// cluster says, but not the order of tokens, nor the decisions of the store.
	Unseen bool
	// Fragile: an acknowledged checkpoint may be lost.
	Fragile bool
	// Short: the row is also in the short round.
	Short bool
	// Late is how much longer than its TTL a key may live on a node, because a clock was set back.
	Late   time.Duration
	Tempo  Tempo
	Length time.Duration
	Script Script
	// Sizes are the successive numbers of nodes of the set. The set is resized while the clients work, one node at a
	// time, for at most Length. Default nil: always NodeCount.
	Sizes []int
	// Storage creates the storage that the locks of one run protect. Default nil: a storage in memory.
	Storage func() (Storage, error)
}

// Run makes one history of the scenario and judges it. If the result is inconclusive, Run makes another history with
// the same seed, unless the tests would run out of time, as on a machine so slow that all rows are repeated.
func (sc Scenario) Run(t *testing.T, b *Backend, seed uint64, sum *Table) {
	sc.SkipWhereItCannotBe(t, b)
	began := time.Now()
	r := sc.attempt(t.Context(), b, seed)
	sum.add(r)
	const reserve = 10 // multiple of this row's duration that is reserved for the others
	end, bounded := t.Deadline()
	if r.verdict() == inconclusive && !(bounded && time.Until(end) < reserve*time.Since(began)) {
		r.logMissed(t)
		t.Logf("the row is repeated, because the machine was slow: %s", r.slowest())
		r = sc.attempt(t.Context(), b, seed)
		sum.add(r)
	}
	r.report(t)
}

// attempt makes one history and judges it. Safety is judged in every history, even in one that was cut short.
func (sc Scenario) attempt(ctx context.Context, b *Backend, seed uint64) *run {
	h := &history{Scenario: sc.Name, Seed: seed, TTL: int64(sc.Tempo.TTL), Fragile: NodeCount/2 + 1, Start: now()}
	if sc.Unseen {
		h.Unseen = int64(sc.Tempo.TTL)
	}
	if sc.Unseen || sc.Fragile {
		h.Fragile = 1
	}
	r := &run{h: h}
	sc.play(ctx, b, r)
	r.judge(h)
	r.slow = h.slowness()
	return r
}

// SkipWhereItCannotBe skips a row whose nodes cannot run on this machine. If the environment asks for real nodes, a
// missing libfaketime is a failure, so that skipped rows are not mistaken for passed ones. Some servers cannot run
// under libfaketime.
func (sc Scenario) SkipWhereItCannotBe(t *testing.T, b *Backend) {
	switch err := b.Lacks(sc.Nodes); {
	case err == nil:
	case errors.Is(err, errNoFaketime) && strings.Contains(os.Getenv("REDLOCK_TEST_BACKENDS"), "redis"):
		t.Fatalf("REDLOCK_TEST_BACKENDS asks for real nodes, and these cannot run here: %v", err)
	default:
		t.Skip(err)
	}
}

// bootstrap opens the set once with a MaxTTL by which the nodes are a new set. By the shorter MaxTTL of the clients,
// the nodes that were started first are too old to be new for certain, and the clients would have to wait.
func bootstrap(ctx context.Context, addrs []string) error {
	urls := make([]string, len(addrs))
	for i, addr := range addrs {
		urls[i] = "redis://" + addr
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, cluster.ErrNoQuorum) { // all nodes are up, so they were too slow to answer
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// play runs nodes, clients and faults, and records what happened.
func (sc Scenario) play(ctx context.Context, b *Backend, r *run) {
	servers := NodeCount
	if sc.Nodes.Spare {
		servers++
	}
	first, linked := NodeCount, NodeCount // number of nodes in the set, and of those that clients can reach
	if sc.Sizes != nil {
		first, linked = sc.Sizes[0], servers
	}
	set, err := b.Start(servers, sc.Nodes)
	if err != nil {
		r.fail("start the nodes", err)
		return
	}
	defer func() { r.fail("end the nodes", set.Close()) }()
	if err := bootstrap(ctx, set.Addrs()[:first]); err != nil {
		r.fail("open the set", err)
		return
	}
	net, err := newNetwork(ClientCount, set.Addrs()[:linked])
	if err != nil {
		r.fail("start the links", err)
		return
	}
	defer func() { _ = net.close() }()
	var storage Storage = newMemory()
	if sc.Storage != nil {
		if storage, err = sc.Storage(); err != nil {
			r.fail("make the storage", err)
			return
		}
	}
	store, err := startStore(storage)
	if err != nil {
		r.fail("start the store", err)
		return
	}
	defer func() {
		r.h.Accesses, err = store.close()
		r.fail("the store", err)
	}()
	measured, err := measure(r.h, set.Addrs()[:linked])
	if err != nil {
		r.fail("start the prober", err)
		return
	}
	defer measured()
	drawn := rand.New(rand.NewPCG(r.h.Seed, hash(sc.Name)))
	seeds := drawn.Uint64()
	members := newMembers(first)
	crowd := newCrowd(ClientCount, func(slot, number int) clientConfig {
		return clientConfig{Number: number, Last: slot == lastSlot, URLs: net.urls(slot, members.listed()), Store: store.addr(), Seed: seeds + uint64(number), Tempo: sc.Tempo}
	})
	defer func() {
		crowd.close()
		said := crowd.collect(r.h)
		r.broken, r.missed = append(r.broken, said.broken...), append(r.missed, said.missed...)
		r.logs += crowd.logs()
	}()
	if sc.trouble(ctx, newStage(set, sc.Nodes.Memory, net, crowd), members, drawn, r) {
		r.leftovers(ctx, set, sc.Tempo, sc.Late)
	}
}

// trouble lets the clients work while faults happen, and reports whether it ran to its end.
func (sc Scenario) trouble(ctx context.Context, s *stage, m *members, drawn *rand.Rand, r *run) (whole bool) {
	if err := spawnAll(s.crowd); err != nil {
		r.fail("start the clients", err)
		return false
	}
	r.h.Start = now()
	faults := sc.Script(drawn, sc.Length, sc.Tempo)
	var err error
	if sc.Sizes == nil {
		err = s.play(faults, sc.Length)
	} else {
		o := newOperator(s, m, sc, drawn)
		err = o.work(ctx, faults, sc.Length)
		r.h.Resizes, r.logs = o.resizes, "== resizes\n"+o.log.String()
	}
	r.h.Faults = s.spans
	r.fail("close the connections for faults", s.close())
	if err != nil {
		r.fail("faults", err)
		return false
	}
	if err := errors.Join(s.crowd.finish(30 * time.Second)...); err != nil {
		r.fail("end the clients", err)
		return false
	}
	r.h.End = now()
	return true
}

// measure watches this process and the nodes until end is called, which records the measurements in h.
func measure(h *history, nodes []string) (end func(), err error) {
	p, err := startProber(nodes)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var paces []pace
	wg.Go(func() {
		watchPace(stop, func(from, to int64, r machine.Report) {
			paces = append(paces, pace{From: from, To: to, Report: r})
		})
	})
	return func() {
		close(stop)
		wg.Wait()
		h.Paces, h.Trips = append(h.Paces, paces...), p.close()
	}, nil
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
