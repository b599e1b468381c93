package keepalive

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// readLease is TryAcquire of a reader, which has to succeed.
func readLease(t *testing.T, s *Leases, opts ...Option) *Lease {
	t.Helper()
	l, err := s.TryAcquire(t.Context(), "job", append(opts, Shared())...)
	must(t, err)
	return l
}

// Readers of leases share a hold with each other, as those of Lock do, and keep
// holders out for as long as one of them is left.
func TestAcquire_SharedJoinsReadersOfItsProcess(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		one, two, beside := readLease(t, s), readLease(t, s), readLease(t, other)
		three, err := s.Acquire(t.Context(), "job", Shared())
		must(t, err)
		if one.t != two.t || one.t != three.t || one == two || one.t == beside.t {
			t.Error("the readers of one process have several holds, or those of two have one")
		}
		for _, l := range []*Lease{one, two, beside} {
			if _, err := other.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
				t.Errorf("a holder beside readers: %v", err)
			}
			if err := three.Err(); err != nil {
				t.Errorf("a reader ended with another: %v", err)
			}
			must(t, l.Release(t.Context()))
		}
		last := three.Token()
		must(t, three.Release(t.Context()))
		next, err := other.TryAcquire(t.Context(), "job")
		must(t, err)
		if next.Token() <= last {
			t.Errorf("token %d after a reader with %d", next.Token(), last)
		}
		if _, err := s.TryAcquire(t.Context(), "job", Shared()); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a reader beside a holder: %v", err)
		}
		must(t, next.Release(t.Context()))
	})
}

// A wait that Wait bounds ends with the error of every such wait.
func TestAcquire_SharedWaitsAsLongAsItSays(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		l := acquireAtOnce(t, other, "job", Request{})
		began := time.Now()
		var held *NotAcquiredError
		if _, err := s.Acquire(t.Context(), "job", Shared(), Wait(5*time.Second)); !errors.As(err, &held) ||
			held.Class != quorumlock.ClassTimeout || !strings.Contains(held.Reason, "within 5s") || time.Since(began) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		began = time.Now()
		if _, err := s.Acquire(t.Context(), "job", Shared(), Wait(0)); !errors.As(err, &held) || held.Class != quorumlock.ClassHeld || time.Since(began) > time.Second {
			t.Errorf("without a wait, after %v: %v", time.Since(began), err)
		}
		must(t, l.Release(t.Context()))
	})
}

// A reader finds the checkpoint of the last holder, and leaves it as it is: neither
// does it overtake its writer, nor can it write one.
func TestAcquire_SharedFindsTheCheckpointAndWritesNone(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		empty := readLease(t, s)
		if data, _, ok := empty.LastCheckpoint(); ok {
			t.Errorf("it found %q where there is none", data)
		}
		must(t, empty.Release(t.Context()))
		w, err := other.Acquire(t.Context(), "job")
		must(t, err)
		must(t, w.Checkpoint(t.Context(), []byte("item 7")))
		written := w.Token()
		must(t, w.Release(t.Context()))
		must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context())) // of lock: it reads none
		before, _, _ := s.CheckpointInfo(t.Context(), "job")
		l := readLease(t, s)
		if data, token, ok := l.LastCheckpoint(); string(data) != "item 7" || token != written || !ok {
			t.Errorf("it found %q of %d, %t", data, token, ok)
		}
		for name, err := range map[string]error{
			"Checkpoint": l.Checkpoint(t.Context(), nil), "ClearCheckpoint": l.ClearCheckpoint(t.Context()),
		} {
			if !errors.Is(err, configerr.Err) || !strings.Contains(err.Error(), name+": ") || !strings.Contains(err.Error(), "without Shared") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if info, ok, err := s.CheckpointInfo(t.Context(), "job"); !ok || err != nil || info != before || info.Revision == 0 {
			t.Errorf("%+v, %t, %v; it was %+v", info, ok, err, before)
		}
		must(t, l.Release(t.Context()))
		next, err := s.Acquire(t.Context(), "job")
		must(t, err)
		if data, token, _ := next.LastCheckpoint(); string(data) != "item 7" || token != written {
			t.Errorf("the next holder found %q of %d", data, token)
		}
		must(t, next.Release(t.Context()))
	})
}

// A reader whose checkpoint cannot be read is not given out, and frees the key.
func TestAcquire_SharedFreesTheKeyIfTheCheckpointCannotBeRead(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, g := newMemory(t, 3), &gate{}
		s, other := lease(t, nodes.open(t, g), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		for _, n := range nodes {
			n.Set("{lock:job}:record", "what this library has not written")
		}
		if l, err := s.TryAcquire(t.Context(), "job", Shared()); !errors.Is(err, configerr.Err) || l != nil {
			t.Errorf("%v, %v", l, err)
		}
		settled()
		must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context()))
	})
}

// What has one holder refuses readers at once, and says what to do.
func TestShared_CallsWithOneHolderRefuseIt(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		ctx := t.Context()
		l := acquireAtOnce(t, s, "job", Request{})
		handle, err := l.Detach(ctx)
		must(t, err)
		for _, n := range nodes { // what is refused is refused without a node
			n.SetError("out of order")
		}
		for call, err := range map[string]error{
			"Campaign": second(s.Campaign(ctx, "e", "me", Shared())), "RunOnce": second(s.RunOnce(ctx, "j", nil, Shared())),
			"Attach": second(s.Attach(ctx, handle, Shared())),
		} {
			if !errors.Is(err, configerr.Err) || !strings.Contains(err.Error(), "Shared: for "+call+": ") || !strings.Contains(err.Error(), "leave it out") {
				t.Errorf("%s: %v", call, err)
			}
		}
		for name, opt := range map[string]Option{"MinHold": MinHold(time.Second), "Limit": Limit(2), "SharedKeys": SharedKeys([]string{"a"})} {
			if _, err := s.Acquire(ctx, "k", Shared(), opt); !errors.Is(err, configerr.Err) || !strings.Contains(err.Error(), name) {
				t.Errorf("Acquire with %s: %v", name, err)
			}
		}
		for _, n := range nodes {
			n.SetError("")
		}
		read, err := s.TryAcquire(ctx, "k", Shared())
		must(t, err)
		if _, err := read.Detach(ctx); !errors.Is(err, configerr.Err) || read.Err() != nil {
			t.Errorf("Detach: %v; the lease: %v", err, read.Err())
		}
		must(t, read.Release(ctx))
	})
}

func second[T any](_ T, err error) error { return err }

// The readers of a process that is cut off end before its key does, and the nodes
// keep it for the lock delay.
func TestLockDelay_HoldsForReaders(t *testing.T) {
	const ttl, delay = 10 * time.Second, 20 * time.Second
	virtually(t, func(t *testing.T) {
		nodes, g := newMemory(t, 3), &gate{}
		s := lease(t, nodes.open(t, g), Config{TTL: ttl, LockDelay: delay})
		other := lease(t, nodes.open(t, &gate{}), Config{})
		one, two := readLease(t, s), readLease(t, s)
		time.Sleep(time.Minute)
		g.cut()
		<-one.Done()
		<-two.Done()
		deadline := one.Deadline()
		if !time.Now().Before(deadline) {
			t.Error("they ended after their deadline")
		}
		next, err := other.Acquire(t.Context(), "job")
		must(t, err)
		if late := time.Since(deadline); late < delay || late > delay+5*time.Second {
			t.Errorf("acquired %v after the deadline; the delay is %v", late, delay)
		}
		must(t, next.Release(t.Context()))
	})
}

// Config.Retain is for package lock, and MaxHold ends one reader of several.
func TestAcquire_SharedIsNotRetainedAndHasAMaxHoldOfItsOwn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Retain: time.Minute})
		other := lease(t, nodes.open(t, &gate{}), Config{})
		<-s.opened
		brief, l := readLease(t, s, MaxHold(time.Second)), readLease(t, s)
		time.Sleep(time.Minute)
		var lost *LostError
		if !errors.As(brief.Err(), &lost) || lost.Class != quorumlock.ClassMaxHold || l.Err() != nil {
			t.Errorf("one: %v; the other: %v", brief.Err(), l.Err())
		}
		must(t, l.Release(t.Context()))
		if err := brief.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context()))
	})
}

// A lease of Acquire that is downgraded lets readers in, of its process and others.
func TestDowngrade_OfALeaseLetsReadersIn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		<-other.opened
		w, err := s.Acquire(t.Context(), "job")
		must(t, err)
		later := make(chan result, 2)
		for _, by := range []*Leases{s, other} {
			go func() {
				l, err := by.Acquire(t.Context(), "job", Shared())
				later <- result{l, err, time.Now()}
			}()
		}
		time.Sleep(time.Second)
		if len(later) > 0 {
			t.Fatal("a reader beside a holder")
		}
		must(t, w.Downgrade(t.Context()))
		time.Sleep(time.Second)
		if len(later) < 2 {
			t.Fatalf("%d of 2 readers are let in", len(later))
		}
		for range 2 {
			must(t, given(t, later).Release(t.Context()))
		}
		must(t, w.Err())
		must(t, w.Release(t.Context()))
	})
}
