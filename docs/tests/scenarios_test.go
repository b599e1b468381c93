package tests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

const (
	patient  = 5 * time.Second // a node's time-out that no busy machine exceeds
	brief    = 2 * time.Second // one that is waited for
	fleeting = 7 * time.Second // a TTL that is waited for
)

// scenarios provoke what is measured. Each has nodes and metrics of its own.
var scenarios = map[string]func(t *testing.T, s *scrapes){
	"locks": locks, "losses": losses, "expiry": expiry, "nodes": failures, "caches": caches, "away": cacheAway, "sessions": sessions, "resize": resize,
	"jobs": jobs, "modes": modes,
}

func locks(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, patient)
	k := r.locker(c, 20*time.Second)
	other := r.locker(r.open(false, patient), 20*time.Second)
	ctx := t.Context()
	err := k.WithLock(ctx, "k", func(ctx context.Context) error {
		r.has("redlock_lock_held", 1, true)
		if err := k.WithLock(ctx, "k", nil); !errors.Is(err, lock.ErrReentrant) {
			t.Errorf("reentrant: %v", err)
		}
		return k.WithLock(ctx, "k2", func(context.Context) error { return nil })
	})
	r.must(err)
	r.has("redlock_lock_wait_seconds{error_type=}", 2, true)
	r.has("redlock_lock_wait_seconds{error_type=reentrant}", 1, true)
	r.has("redlock_lock_refusals_total{error_type=reentrant}", 1, true)
	r.has("redlock_lock_attempt_seconds{error_type=}", 2, true)
	r.has("redlock_lock_hold_seconds{redlock_end=released}", 2, true)
	r.has("redlock_lock_held", 0, true)

	// Another process has it; a third waits when this one gets it.
	l, err := other.Lock(ctx, "far")
	r.must(err)
	if _, err := k.TryLock(ctx, "far"); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("held by another: %v", err)
	}
	r.has("redlock_lock_refusals_total{error_type=held}", 1, true)
	r.has("redlock_lock_attempt_seconds{error_type=held}", 1, true)
	if err := k.WithLock(ctx, "far", nil, lock.Wait(time.Millisecond)); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("held by another for longer than is waited: %v", err)
	}
	r.has("redlock_lock_refusals_total{error_type=timeout}", 1, true)
	third := r.locker(r.open(false, patient), 20*time.Second)
	got := make(chan error, 2)
	hold := func(context.Context) error { return nil }
	go func() { got <- k.WithLock(ctx, "far", hold) }()
	queued(r, "{lock:far}:queue", 1)
	go func() { got <- third.WithLock(ctx, "far", hold) }()
	queued(r, "{lock:far}:queue", 2)
	r.must(l.Release(ctx))
	r.must(harness.Receive(t, "the first to end", got))
	r.must(harness.Receive(t, "the second to end", got))
	r.has("redlock_lock_waiters:sum", 1)

	// Two in line in this process: one gets it by a hand-over.
	handOver(r, c, k, "hot", func() { r.has("redlock_lock_queue", 1, true) })
	r.has("redlock_lock_handovers_total", 1, true)
	r.has("redlock_lock_hold_seconds{redlock_end=handed_over}", 1, true)
	r.has("redlock_lock_queue", 0, true)

	// Two others have a node each.
	for i, holder := range []string{"one", "two"} {
		r.must(r.client(i).Set(ctx, "lock:split", holder, time.Minute).Err())
	}
	if _, err := k.TryLock(ctx, "split"); !errors.Is(err, lock.ErrNotAcquired) {
		t.Errorf("held by two: %v", err)
	}
	r.has("redlock_lock_attempt_seconds{error_type=split}", 8, true) // tries of the one call

	// Kept for its MinHold.
	l, err = k.Lock(ctx, "daily", lock.MinHold(time.Minute))
	r.must(err)
	r.must(l.Release(ctx))
	r.has("redlock_lock_hold_seconds{redlock_end=kept}", 1, true)
	r.scrape()
}

// modes are keys of every mode, held by one process.
func modes(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, patient)
	k := r.locker(c, 20*time.Second)
	ctx := t.Context()
	acquire := func(key string, opts ...lock.Option) *lease.Lease {
		t.Helper()
		l, err := k.Lock(ctx, key, opts...)
		r.must(err)
		return l
	}
	held := func(exclusive, shared, limit, retained float64) {
		t.Helper()
		for mode, n := range map[string]float64{"exclusive": exclusive, "shared": shared, "limit": limit, "retained": retained} {
			r.has("redlock_lock_held{redlock_mode="+mode+"}", n, true)
		}
	}
	held(0, 0, 0, 0)
	first, own := acquire("catalog", lock.Shared()), acquire("order")
	slots := []*lease.Lease{acquire("gpu", lock.Limit(2)), acquire("gpu", lock.Limit(2))}
	held(1, 1, 2, 0)
	joined := acquire("catalog", lock.Shared()) // another reader of the same hold
	held(1, 1, 2, 0)
	for mode, want := range map[string][2]float64{"exclusive": {1, 1}, "shared": {2, 1}, "limit": {2, 2}} {
		r.has("redlock_lock_wait_seconds{error_type=,redlock_mode="+mode+"}", want[0], true)
		r.has("redlock_lock_attempt_seconds{error_type=,redlock_mode="+mode+"}", want[1], true)
	}
	for mode, opt := range map[string]lock.Option{"exclusive": lock.NoWait(), "limit": lock.Limit(3)} {
		if _, err := k.TryLock(ctx, "catalog", opt); !errors.Is(err, lock.ErrNotAcquired) {
			t.Errorf("beside readers, %s: %v", mode, err)
		}
		r.has("redlock_lock_refusals_total{error_type=held,redlock_mode="+mode+"}", 1, true)
	}
	r.must(own.Downgrade(ctx))
	held(0, 2, 2, 0)
	for _, l := range append(slots, first, joined, own) {
		r.must(l.Release(ctx))
	}
	held(0, 0, 0, 0)
	r.has("redlock_lock_hold_seconds{redlock_end=released,redlock_mode=shared}", 3, true)
	r.has("redlock_lock_hold_seconds{redlock_end=released,redlock_mode=limit}", 2, true)
	for mode, opts := range map[string][]lock.Option{"exclusive": nil, "shared": {lock.Shared()}, "limit": {lock.Limit(2)}} {
		err := k.WithLock(ctx, "overdue", func(ctx context.Context) error { <-ctx.Done(); return nil }, append(opts, lock.MaxHold(time.Millisecond))...)
		if !errors.Is(err, lock.ErrLost) {
			t.Errorf("held too long, %s: %v", mode, err)
		}
		r.has("redlock_lock_losses_total{redlock_reason=max_hold,redlock_mode="+mode+"}", 1, true)
	}
	r.must(k.WithLocks(ctx, []string{"a"}, func(context.Context) error { held(1, 1, 0, 0); return nil }, lock.SharedKeys("b")))
	keeper, err := lock.New(c, lock.Config{TTL: 20 * time.Second, Retain: 20 * time.Second})
	r.must(err)
	harness.CloseAtEnd(t, keeper)
	harness.Receive(t, "the mailbox to open", face.In(c).Listen(deaf{}))
	r.must(keeper.WithLock(ctx, "kept", func(context.Context) error { held(1, 0, 0, 0); return nil }))
	held(0, 0, 0, 1)
	r.scrape()
}

// queued waits until so many processes wait for a key on every node.
func queued(r *rig, queue string, want int64) {
	for i := range r.nodes.Len() {
		c := r.client(i)
		harness.Eventually(r.T, "a process to wait", func() bool { return c.ZCard(r.Context(), queue).Val() == want })
	}
}

func losses(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, brief)
	k := r.locker(c, fleeting)
	ctx := t.Context()
	var lost *lock.LostError
	wantLost := func(err error) {
		t.Helper()
		if !errors.As(err, &lost) {
			t.Fatalf("not lost: %v", err)
		}
	}
	wipe := func(key string) {
		for i := range r.nodes.Len() {
			r.must(r.client(i).Set(ctx, key, "somebody", time.Minute).Err())
		}
	}
	wantLost(k.WithLock(ctx, "overdue", func(ctx context.Context) error { <-ctx.Done(); return nil }, lock.MaxHold(20*time.Millisecond)))
	r.has("redlock_lock_losses_total{redlock_reason=max_hold}", 1, true)

	wantLost(k.WithLock(ctx, "late", func(context.Context) error { wipe("lock:late"); return nil }))
	r.has("redlock_lock_losses_total{redlock_reason=found_at_release}", 1, true)

	wantLost(k.WithLock(ctx, "stolen", func(ctx context.Context) error { wipe("lock:stolen"); <-ctx.Done(); return nil }))
	r.has("redlock_lock_losses_total{redlock_reason=taken}", 1, true)
	r.has("redlock_lock_hold_seconds{redlock_end=lost}", 1, true)
	r.has("redlock_lock_renewal_left{redlock_verdict=over}", 1)

	wantLost(k.WithLock(ctx, "forced", func(ctx context.Context) error {
		seen, err := k.Inspect(ctx, "forced")
		r.must(err)
		_, err = k.ForceRelease(ctx, seen, "on call")
		r.must(err)
		<-ctx.Done()
		return nil
	}))
	r.has("redlock_lock_losses_total{redlock_reason=forced}", 1, true)

	// A record that a newer token has overtaken.
	leases, err := lease.New(c, lease.Config{})
	r.must(err)
	defer leases.Close(context.Background())
	l, err := leases.Acquire(ctx, "job")
	r.must(err)
	for i := range r.nodes.Len() {
		r.must(r.client(i).Set(ctx, "{lock:job}:record:promise", l.Token()+1, time.Minute).Err())
	}
	wantLost(l.Checkpoint(ctx, []byte("at 7")))
	r.has("redlock_lock_losses_total{redlock_reason=overtaken}", 1, true)
	r.scrape()
}

func jobs(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	r.key = func(name string) string {
		kind, _, _ := strings.Cut(name, ":")
		return map[string]string{"report": "report", "invoice": "invoice", "nightly": "nightly"}[kind]
	}
	c := r.open(true, patient)
	ctx := t.Context()
	leases, err := lease.New(c, lease.Config{TTL: 20 * time.Second})
	r.must(err)
	defer leases.Close(context.Background())
	other, err := lease.New(r.open(false, patient), lease.Config{TTL: 20 * time.Second})
	r.must(err)
	defer other.Close(context.Background())

	// The lock that is held the longest, of two Leases.
	const longest = "redlock_lock_held_longest_seconds"
	r.has(longest, 0, true)
	old, err := leases.Acquire(ctx, "old")
	r.must(err)
	k := r.locker(c, 20*time.Second)
	began := time.Now()
	r.must(k.WithLock(ctx, "young", func(context.Context) error {
		harness.Past(began.Add(time.Millisecond))
		before := time.Since(began).Seconds()
		if v, _ := r.value(longest); v <= before {
			t.Errorf("the oldest lock is %v s old, the youngest alone %v", v, before)
		}
		return nil
	}))
	r.must(old.Release(ctx))
	r.has(longest, 0, true)

	// A job that failed, one that succeeded here, and one that succeeded elsewhere.
	const success = "redlock_job_success_timestamp_seconds"
	_, err = leases.RunOnce(ctx, "report:1", func(context.Context) error { return errBroken })
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if v, found := r.value(success); found {
		t.Errorf("a job that failed succeeded at %v", v)
	}
	before := float64(time.Now().Unix())
	_, err = leases.RunOnce(ctx, "report:1", func(context.Context) error { return nil })
	r.must(err)
	r.has(success+"{redlock_job=report}", before)
	ran := false
	work := func(context.Context) error { ran = true; return nil }
	_, err = other.RunOnce(ctx, "invoice:1", work)
	r.must(err)
	ran = false
	if _, err = leases.RunOnce(ctx, "invoice:1", work); err != nil || ran {
		t.Fatalf("a job that was done elsewhere ran again: %t, %v", ran, err)
	}
	r.has(success+"{redlock_job=invoice}", before)

	// An election that this process leads once the other has resigned.
	const leading = "redlock_election_leading{redlock_election=nightly}"
	leader, err := other.Campaign(ctx, "nightly", "b")
	r.must(err)
	won := make(chan error, 1)
	var mine *lease.Lease
	go func() {
		var err error
		mine, err = leases.Campaign(ctx, "nightly", "a")
		won <- err
	}()
	r.has(leading, 0, true)
	r.must(leader.Release(ctx))
	r.must(harness.Receive(t, "the election", won))
	r.has(leading, 1, true)
	r.scrape()
	r.must(mine.Release(ctx))
	harness.Eventually(t, "the election to be without candidates of this process", func() bool {
		_, found := r.value(leading)
		return !found
	})
}

func expiry(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	k := r.locker(r.open(true, brief), fleeting)
	err := k.WithLock(t.Context(), "k", func(ctx context.Context) error {
		r.has("redlock_lock_renewal_left{redlock_verdict=extended}", 1)
		for i := range 3 {
			r.nodes.Stop(i)
		}
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("without nodes: %v", err)
	}
	r.has("redlock_lock_losses_total{redlock_reason=expired}", 1, true)
	r.has("redlock_lock_renewal_left{redlock_verdict=undecided}", 1)
	r.scrape()
}

func failures(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, patient)
	k := r.locker(c, 20*time.Second)
	ctx := t.Context()
	for i := range 3 {
		r.has(r.of(c, "redlock_node_up", i), 1, true)
		r.has(r.of(c, "redlock_node_quarantine_seconds", i), 0, true)
		r.has(r.of(c, "redlock_node_clock_offset_seconds", i), -1)
	}
	r.has("redlock_cluster_spare", 1, true)

	// A frozen node has a queue.
	r.nodes.Pause(0)
	r.must(k.WithLock(ctx, "k", func(context.Context) error { r.has(r.of(c, "redlock_node_queue", 0), 1); return nil }))
	r.nodes.Resume(0)
	r.has(r.of(c, "redlock_node_queue", 0), 0, true)
	r.has(r.of(c, "redlock_node_latency_seconds", 0), 1)

	// One that stops is owed the release.
	l, err := k.Lock(ctx, "owed")
	r.must(err)
	r.nodes.Stop(0)
	r.must(l.Release(ctx))
	r.has(r.of(c, "redlock_node_owed", 0), 1, true)
	r.has(r.of(c, "redlock_node_up", 0), 0, true)
	r.has(r.of(c, "redlock_node_trips_total", 0), 1, true)
	r.has("redlock_cluster_spare", 0, true)
	r.has(r.of(c, "redlock_node_errors_total", 0), 1)

	// It is back, and has forgotten.
	r.must(r.nodes.Restart(0, true))
	r.has(r.of(c, "redlock_node_restarts_total", 0), 1, true)
	r.has(r.of(c, "redlock_node_quarantine_seconds", 0), 1)
	r.has(r.of(c, "redlock_node_up", 0), 1, true)
	r.has("redlock_cluster_spare", 0, true)

	err = k.WithLock(ctx, "last", func(context.Context) error {
		r.nodes.Stop(1)
		r.nodes.Stop(2)
		return nil
	})
	r.must(err)
	r.has("redlock_lock_release_failures_total", 1, true)
	r.has("redlock_cluster_spare", -2, true)
	if _, err := k.TryLock(ctx, "more"); !errors.Is(err, lock.ErrNoQuorum) {
		t.Errorf("without a quorum: %v", err)
	}
	r.has("redlock_lock_refusals_total{error_type=no_quorum}", 1, true)
	r.scrape()
}

var errBroken = errors.New("the database is broken")

func caches(t *testing.T, s *scrapes) {
	r := newRig(t, s, 1)
	c := r.open(true, patient)
	ctx := t.Context()
	users, err := cache.New(c, cache.Config[string]{
		Prefix: "u:", TTL: time.Minute, StaleFor: time.Minute, SoftTTL: time.Minute, MaxValue: 100, Near: &cache.Near{},
	})
	r.must(err)
	defer users.Close(context.Background())
	mine := func(metric string, want float64) { t.Helper(); r.has(metric+"{redlock_cache_prefix=u:}", want) }
	ann := func(context.Context) (string, error) { return "Ann", nil }
	fetch := func(key string, load func(context.Context) (string, error), opts ...cache.Option) {
		t.Helper()
		if _, err := users.Fetch(ctx, key, load, opts...); err != nil && !errors.Is(err, cache.ErrNotFound) && !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
	}
	fetch("7", func(context.Context) (string, error) { return "Ann", nil })
	mine("redlock_cache_misses_total", 1)
	mine("redlock_cache_loads_total", 1)
	mine("redlock_cache_load_time_seconds_total", 0)
	harness.Eventually(t, "the entry in memory", func() bool {
		fetch("7", ann)
		v, _ := r.value("redlock_cache_near_hits_total")
		return v > 0
	})
	mine("redlock_cache_near_hits_total", 1)
	mine("redlock_cache_hits_total", 1)
	fetch("none", func(context.Context) (string, error) { return "", cache.ErrNotFound })
	fetch("none", ann)
	mine("redlock_cache_negative_total", 1)
	fetch("long", func(context.Context) (string, error) { return string(make([]byte, 200)), nil })
	mine("redlock_cache_too_large_total", 1)
	fetch("raced", func(ctx context.Context) (string, error) { return "old", users.Delete(ctx, "raced") })
	mine("redlock_cache_refused_total", 1)

	fetch("old", ann, cache.TTL(time.Millisecond), cache.SoftTTL(time.Millisecond))
	harness.Eventually(t, "an entry to be stale", func() bool {
		fetch("old", func(context.Context) (string, error) { return "", errBroken })
		v, _ := r.value("redlock_cache_stale_total")
		return v > 0
	})
	mine("redlock_cache_stale_total", 1)
	mine("redlock_cache_load_errors_total", 1)

	fetch("soft", ann, cache.SoftTTL(time.Millisecond))
	harness.Eventually(t, "a refresh", func() bool {
		fetch("soft", ann, cache.SoftTTL(time.Millisecond))
		v, _ := r.value("redlock_cache_refreshes_total")
		return v > 0
	})
	mine("redlock_cache_refreshes_total", 1)

	// Another process waits for a load of this one.
	others, err := cache.New(r.open(true, patient), cache.Config[string]{Prefix: "u:"})
	r.must(err)
	defer others.Close(context.Background())
	begun, enough := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(enough) })
	defer end()
	loaded, waited := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := users.Fetch(ctx, "slow", func(context.Context) (string, error) { close(begun); <-enough; return "Bob", nil })
		loaded <- err
	}()
	harness.Receive(t, "the load to begin", begun)
	go func() {
		_, err := others.Fetch(ctx, "slow", ann)
		waited <- err
	}()
	harness.Eventually(t, "another to wait", func() bool { v, _ := r.value("redlock_cache_waits_total"); return v > 0 })
	end()
	r.must(harness.Receive(t, "the load to end", loaded))
	r.must(harness.Receive(t, "the other to end", waited))
	mine("redlock_cache_waits_total", 1)

	numbers, err := cache.New(r.open(true, patient), cache.Config[float64]{Prefix: "u:"})
	r.must(err)
	defer numbers.Close(context.Background())
	_, err = numbers.Fetch(ctx, "7", func(context.Context) (float64, error) { return math.NaN(), nil })
	r.must(err)
	mine("redlock_cache_undecodable_total", 1)
	mine("redlock_cache_unencodable_total", 1)
	r.scrape()
}

// cacheAway is a cache whose nodes go away one after the other.
func cacheAway(t *testing.T, s *scrapes) {
	r := newRig(t, s, 2)
	c := r.open(true, patient)
	ctx := t.Context()
	names, err := cache.New(c, cache.Config[string]{})
	r.must(err)
	defer names.Close(context.Background())
	load := func(context.Context) (string, error) { return "Ann", nil }
	r.nodes.Stop(0)
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"} // some of them are that node's
	for _, key := range keys {
		_, err := names.Fetch(ctx, key, load)
		r.must(err)
	}
	for _, key := range keys {
		_, err := names.Fetch(ctx, key, load)
		r.must(err)
		names.Delete(ctx, key)
	}
	r.has("redlock_cache_stand_ins_total{redlock_cache_prefix=cache:}", 1)
	r.has("redlock_cache_owed_total{redlock_cache_prefix=cache:}", 1)
	r.nodes.Stop(1)
	for range 2 {
		_, err = names.Fetch(ctx, "a", load)
		r.must(err)
	}
	r.has("redlock_cache_unleased_total{redlock_cache_prefix=cache:}", 1)
	r.scrape()
}

func sessions(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, brief)
	ctx := t.Context()
	store, err := session.New(c, session.Config{})
	r.must(err)
	mine := func(metric string, want float64) { t.Helper(); r.has(metric+"{redlock_session_prefix=session:}", want) }
	a, err := store.Create(ctx, "ann", nil)
	r.must(err)
	mine("redlock_session_created_total", 1)
	_, err = store.Load(ctx, a.ID())
	r.must(err)
	mine("redlock_session_loaded_total", 1)

	// A node that was frozen lacks the commit; it and one other make a quorum later, with the third frozen.
	freeze := func(i int) {
		r.nodes.Pause(i)
		harness.Eventually(t, "a node to be down", func() bool { store.Load(ctx, a.ID()); return !c.Status()[i].Up })
	}
	thaw := func(i int) {
		r.nodes.Resume(i)
		harness.Eventually(t, "a node to be back", func() bool { return c.Status()[i].Up })
	}
	freeze(0)
	r.must(a.Set("n", 1))
	r.must(a.Commit(ctx))
	mine("redlock_session_committed_total", 1)
	thaw(0)
	freeze(2)
	_, err = store.Load(ctx, a.ID())
	r.must(err)
	thaw(2)
	mine("redlock_session_restored_total", 1)

	r.must(a.Renew(ctx))
	mine("redlock_session_renewed_total", 1)
	r.must(a.Destroy(ctx))
	mine("redlock_session_destroyed_total", 1)
	_, err = store.Load(ctx, a.ID())
	if !errors.Is(err, session.ErrSessionGone) {
		t.Errorf("a destroyed session: %v", err)
	}
	mine("redlock_session_gone_total", 1)
	r.must(store.LogoutAll(ctx, "ann", nil))
	mine("redlock_session_logouts_total", 1)
	dead, cancel := context.WithCancel(ctx)
	cancel()
	store.Load(dead, a.ID())
	mine("redlock_session_failures_total", 1)
	r.scrape()
}

// A resize is under way from its proposal until only the new list counts.
func resize(t *testing.T, s *scrapes) {
	r := newRig(t, s, 3)
	c := r.open(true, patient)
	k := r.locker(c, 20*time.Second)
	r.has("redlock_cluster_resize", 0, true)
	begun := make(chan struct{}, 1)
	cfg := nodeset.Config{URLs: r.nodes.URLs(), NodeTimeout: patient, Logger: slog.New(slog.DiscardHandler)}
	tool, err := nodeset.NewResize(cfg, "", strings.TrimPrefix(r.nodes.URLs()[2], "redis://"), func(format string, args ...any) {
		if strings.HasPrefix(fmt.Sprintf(format, args...), "Give all programs the new list") {
			begun <- struct{}{}
		}
	})
	r.must(err)
	defer tool.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := harness.Async(func() error { return tool.Run(ctx) })
	harness.Receive(t, "both lists to count", begun)
	r.must(k.WithLock(t.Context(), "k", func(context.Context) error { return nil })) // which reads the marks
	r.has("redlock_cluster_resize", 2, true)
	r.scrape()
	stop()
	harness.Receive(t, "the resize to stop", ended)
}
