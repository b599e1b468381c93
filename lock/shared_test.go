package lock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/mutex"
)

// reading locks key to read.
func reading(t testing.TB, k *Locker, key string, opts ...Option) *lease.Lease {
	t.Helper()
	began := time.Now()
	l, err := k.Lock(t.Context(), key, append(opts, Shared())...)
	harness.Must(t, began, err)
	return l
}

// released releases a lease that is held.
func released(t testing.TB, all ...*lease.Lease) {
	t.Helper()
	for _, l := range all {
		harness.Must(t, time.Now(), l.Release(t.Context()))
	}
}

// refusedNow is an attempt that does not wait, and fails because another holds the key.
func refusedNow(t testing.TB, k *Locker, key string, opts ...Option) *NotAcquiredError {
	t.Helper()
	l, err := k.TryLock(t.Context(), key, opts...)
	var held *NotAcquiredError
	if !errors.As(err, &held) {
		t.Fatalf("%q is locked, or not refused: %v, %v", key, l, err)
	}
	return held
}

// lockLater locks key on a goroutine of its own.
func lockLater(t testing.TB, k *Locker, key string, opts ...Option) <-chan *lease.Lease {
	got := make(chan *lease.Lease, 1)
	go func() {
		l, err := k.Lock(t.Context(), key, opts...)
		if err != nil && t.Context().Err() == nil {
			t.Errorf("Lock: %v", err)
		}
		got <- l
	}()
	return got
}

func TestShared_ReadersOfAllProcessesHoldTheKeyAndExcludeWriters(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b := process(t, nodes), process(t, nodes)
		w := lock(t, a, "k")
		before := w.Token()
		if held := refusedNow(t, b, "k", Shared()); held.Class != "held" {
			t.Error(held)
		}
		released(t, w)
		one, two, other := reading(t, a, "k"), reading(t, a, "k"), reading(t, b, "k")
		if one.Token() < before || one.Token() != two.Token() || other.Token() < before {
			t.Errorf("tokens %d, %d and %d after %d", one.Token(), two.Token(), other.Token(), before)
		}
		if held := refusedNow(t, b, "k"); held.Holder == "" {
			t.Errorf("a writer of the process of a reader: %v", held)
		}
		c := process(t, nodes)
		if held := refusedNow(t, c, "k"); held.Holder != "readers" || held.Split {
			t.Errorf("a writer of another process: %v", held)
		}
		released(t, one, other)
		refusedNow(t, c, "k")
		if err := two.Err(); err != nil {
			t.Errorf("the last reader: %v", err)
		}
		released(t, two)
		w = lock(t, c, "k")
		if w.Token() <= other.Token() || w.Token() <= one.Token() {
			t.Errorf("token %d after readers with %d and %d", w.Token(), one.Token(), other.Token())
		}
		released(t, w)
	})
}

func TestShared_AJoinAsksNoNode(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		k := process(t, nodes)
		mailbox(t, k)
		first := reading(t, k, "k")
		asked := func() (n int64) {
			for i := range nodes.Len() {
				n += harness.Inspect(t, nodes).Commands(i)["evalsha"]
			}
			return n
		}
		before := asked()
		for range 100 {
			if err := k.WithLock(t.Context(), "k", nothing, Shared(), NoWait()); err != nil {
				t.Fatal(err)
			}
		}
		if n := asked() - before; n > 0 {
			t.Errorf("100 readers asked the nodes %d times", n)
		}
		released(t, first)
	})
}

// Readers that come after a writer wait for it, in its process and in others.
func TestShared_AWriterThatWaitsComesBeforeReadersThatComeLater(t *testing.T) {
	for name, same := range map[string]bool{"of this process": true, "of another": false} {
		t.Run(name, func(t *testing.T) {
			harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
				a, b := patient(t, nodes), patient(t, nodes)
				mailbox(t, a)
				mailbox(t, b)
				first := reading(t, a, "k")
				writer := b
				if same {
					writer = a
				}
				w := lockLater(t, writer, "k")
				if same {
					queuedHere(t, a, "k", 1)
				} else {
					queued(t, nodes, "k", 1)
					harness.Eventually(t, "the wait to be announced", func() bool {
						return !a.c.Queues().Snapshot(a.engine().Redlock().LockKey("k")).RemoteWait.IsZero()
					})
				}
				refusedNow(t, a, "k", Shared())
				later := lockLater(t, a, "k", Shared())
				queuedHere(t, a, "k", 1+map[bool]int{true: 1}[same])
				released(t, first)
				got := harness.Receive(t, "the writer", w)
				if len(later) > 0 {
					t.Error("a reader beside a writer")
				}
				released(t, got)
				released(t, harness.Receive(t, "the reader", later))
			})
		})
	}
}

// When a writer gives up that others waited for, readers join again.
func TestShared_ReadersGoOnWhenTheWriterGivesUp(t *testing.T) {
	for name, same := range map[string]bool{"of this process": true, "of another": false} {
		t.Run(name, func(t *testing.T) {
			harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
				a, b := patient(t, nodes), patient(t, nodes)
				mailbox(t, a)
				mailbox(t, b)
				first := reading(t, a, "k")
				writer, third := b, patient(t, nodes)
				if same {
					writer = a
				}
				ctx, giveUp := context.WithCancel(t.Context())
				gone := make(chan error, 1)
				go func() { gone <- writer.WithLock(ctx, "k", nothing) }()
				if same {
					queuedHere(t, a, "k", 1)
				} else {
					queued(t, nodes, "k", 1)
					harness.Eventually(t, "the wait to be announced", func() bool {
						return !a.c.Queues().Snapshot(a.engine().Redlock().LockKey("k")).RemoteWait.IsZero()
					})
				}
				later, elsewhere := lockLater(t, a, "k", Shared()), lockLater(t, third, "k", Shared())
				giveUp()
				if err := harness.Receive(t, "the writer's end", gone); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				all := []*lease.Lease{harness.Receive(t, "the reader here", later), harness.Receive(t, "the reader there", elsewhere), first}
				for _, l := range all {
					if err := l.Err(); err != nil {
						t.Error(err)
					}
				}
				released(t, all...)
			})
		})
	}
}

// Readers that wait behind a holder are served together, those of all processes.
func TestShared_ReadersThatWaitAreServedTogether(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b, c := patient(t, nodes), patient(t, nodes), patient(t, nodes)
		w := lock(t, a, "k")
		var later []<-chan *lease.Lease
		for i, k := range []*Locker{b, b, b, c, c} {
			later = append(later, lockLater(t, k, "k", Shared()))
			queuedHere(t, k, "k", i%3)
		}
		queued(t, nodes, "k", 2)
		released(t, w)
		var all []*lease.Lease
		for _, got := range later { // none is released before all are there
			all = append(all, harness.Receive(t, "a reader", got))
		}
		released(t, all...)
	})
}

func TestShared_EachReaderHasAContextOfItsOwn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a := process(t, nodes)
		one, brief := reading(t, a, "k", Owner("one")), reading(t, a, "k", MaxHold(time.Millisecond), Owner("two"))
		if one.Context() == brief.Context() || one.Deadline() != brief.Deadline() {
			t.Error("two readers with one context, or two holds")
		}
		harness.Receive(t, "its MaxHold to end", brief.Done())
		var lost *LostError
		if err := brief.Release(t.Context()); !errors.As(err, &lost) || lost.Class != "max_hold" {
			t.Errorf("released after MaxHold: %v", err)
		}
		if err := one.Err(); err != nil {
			t.Errorf("the other reader: %v", err)
		}
		three := reading(t, a, "k")
		released(t, one)
		if err := one.Release(t.Context()); !errors.Is(err, ErrReleased) || three.Err() != nil {
			t.Errorf("released twice: %v; the other: %v", err, three.Err())
		}
		released(t, three)
	})
}

// The loss of the key ends every reader of a process.
func TestShared_ALossEndsAllReaders(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{NodeTimeout: renewed})
		a := locker(t, c, Config{RenewEvery: renewed, TTL: long})
		operator := process(t, nodes)
		all := []*lease.Lease{reading(t, a, "k"), reading(t, a, "k")}
		seen, err := operator.Inspect(t.Context(), "k")
		if err != nil || seen.State != Held || seen.Holder.Writer != WriterShared || len(seen.Readers) != 1 || seen.Readers[0].PID == 0 || seen.Readers[0].Left <= 0 {
			t.Fatalf("Inspect: %+v, %v", seen, err)
		}
		listed, err := operator.List(t.Context(), "")
		if err != nil || len(listed) != 1 || len(listed[0].Readers) != 1 {
			t.Errorf("List: %+v, %v", listed, err)
		}
		if _, err := operator.ForceRelease(t.Context(), seen, "operator"); err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			harness.Receive(t, "its end", l.Done())
			var lost *LostError
			if !errors.As(l.Err(), &lost) || lost.Class != "forced" || !strings.Contains(lost.Reason, "operator") {
				t.Errorf("it ended with %v", l.Err())
			}
			if err := l.Release(t.Context()); !errors.Is(err, ErrLost) {
				t.Errorf("release: %v", err)
			}
		}
		harness.Eventually(t, "both losses to be counted", func() bool { return a.Stats().Losses == 2 })
	})
}

func TestShared_Downgrade_LetsReadersInAndKeepsTheKey(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b := patient(t, nodes), patient(t, nodes)
		w := lock(t, a, "k")
		written := w.Token()
		here, there := lockLater(t, a, "k", Shared()), lockLater(t, b, "k", Shared())
		queuedHere(t, a, "k", 1)
		queued(t, nodes, "k", 1)
		began := time.Now()
		harness.Must(t, began, w.Downgrade(t.Context()))
		all := []*lease.Lease{harness.Receive(t, "a reader here", here), harness.Receive(t, "a reader there", there), w}
		for _, l := range all {
			if l.Token() < written || l.Token() < w.Token() || l.Err() != nil {
				t.Errorf("token %d after %d: %v", l.Token(), w.Token(), l.Err())
			}
		}
		if w.Context().Err() != nil {
			t.Error("its context ended")
		}
		if err := w.Downgrade(t.Context()); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("once more: %v", err)
		}
		if err := w.Checkpoint(t.Context(), nil); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("Checkpoint: %v", err)
		}
		if _, err := w.Detach(t.Context()); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("Detach: %v", err)
		}
		token := w.Token()
		released(t, all...)
		next := lock(t, b, "k")
		if next.Token() <= token {
			t.Errorf("token %d after %d", next.Token(), token)
		}
		released(t, next)
		if err := w.Downgrade(t.Context()); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("after its release: %v", err)
		}
		if err := next.Downgrade(t.Context()); !errors.Is(err, ErrReleased) {
			t.Errorf("after its release: %v", err)
		}
	})
}

func TestShared_CombinationsThatDoNotFitAreRefused(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		k := locker(t, c, Config{})
		leases, err := lease.New(c, lease.Config{TTL: long})
		if err != nil {
			t.Fatal(err)
		}
		defer leases.Close(t.Context())
		ctx := t.Context()
		for name, err := range map[string]error{
			"MinHold":     k.WithLock(ctx, "k", nothing, Shared(), MinHold(time.Second)),
			"several":     k.WithLocks(ctx, []string{"a", "b"}, nothing, Shared()),
			"Campaign":    second(leases.Campaign(ctx, "e", "me", Shared())),
			"RunOnce":     second(leases.RunOnce(ctx, "j", nothing, Shared())),
			"a downgrade": lock(t, k, "kept", MinHold(time.Millisecond)).Downgrade(ctx),
		} {
			if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Shared") && !strings.Contains(err.Error(), "MinHold") {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, opts := range map[string][2][]Option{
			"write in a read": {{Shared()}, {}}, "read in a write": {{}, {Shared()}}, "read in a read": {{Shared()}, {Shared()}},
		} {
			err := k.WithLock(ctx, "k", func(ctx context.Context) error { return k.WithLock(ctx, "k", nothing, opts[1]...) }, opts[0]...)
			if !errors.Is(err, ErrReentrant) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// Plain mutexes see readers as a lock that another holds.
func TestShared_AMutexIsExcluded(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, cluster.Config{})
		m, err := mutex.New(c, "k", mutex.Config{})
		if err != nil {
			t.Fatal(err)
		}
		k := process(t, nodes)
		l := reading(t, k, "k")
		if err := m.TryLock(t.Context()); !errors.Is(err, mutex.ErrNotAcquired) {
			t.Errorf("a mutex beside a reader: %v", err)
		}
		released(t, l)
		harness.Must(t, time.Now(), m.TryLock(t.Context()))
		refusedNow(t, k, "k", Shared())
		_ = m.Unlock(t.Context())
	})
}

// Closing a Locker ends its readers, waits for their work, and frees the key.
func TestShared_CloseReleasesWhatIsRead(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b := process(t, nodes), process(t, nodes)
		l := reading(t, a, "k")
		reading(t, a, "k")
		began, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- a.WithLock(t.Context(), "k", func(ctx context.Context) error {
				close(began)
				<-ctx.Done()
				return context.Cause(ctx)
			}, Shared())
		}()
		harness.Receive(t, "the work to begin", began)
		harness.Must(t, time.Now(), a.Close(t.Context()))
		if err := harness.Receive(t, "the work's end", done); !errors.Is(err, ErrClosed) || !errors.Is(l.Err(), ErrClosed) {
			t.Errorf("the work ended with %v, the lease with %v", err, l.Err())
		}
		released(t, lock(t, b, "k"))
	})
}

// Readers and writers of several processes, as fast as they can: a writer is alone, and what a reader sees does not change.
func TestShared_ReadersSeeWhatWritersLeft(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		all := []*Locker{process(t, nodes), process(t, nodes), process(t, nodes)}
		var mu sync.Mutex
		var value, inside, newest int64
		enter := func(ctx context.Context, writes bool) error {
			token, _ := Token(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case inside != 0 && writes || inside < 0:
				return fmt.Errorf("%d inside when one enters that writes: %t", inside, writes)
			case token < newest || writes && token == newest:
				return fmt.Errorf("token %d after %d", token, newest)
			case writes:
				inside, newest = -1, token
				value++
			default:
				inside++
			}
			return nil
		}
		leave := func(writes bool) {
			mu.Lock()
			defer mu.Unlock()
			if writes {
				inside = 0
			} else {
				inside--
			}
		}
		var work sync.WaitGroup
		for i := range 12 {
			work.Go(func() {
				for turn := range 30 {
					writes := (turn+i)%5 == 0
					opts := []Option{Shared()}
					if writes {
						opts = nil
					}
					err := all[i%3].WithLock(t.Context(), "k", func(ctx context.Context) error {
						err := enter(ctx, writes)
						if err == nil {
							defer leave(writes)
						}
						return err
					}, opts...)
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		work.Wait()
		if value != 12*6 {
			t.Errorf("%d writes", value)
		}
	})
}
