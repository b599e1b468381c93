package keepalive

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// lockedAll is a LockAll that has to succeed.
func lockedAll(t *testing.T, s *Leases, req Request, keys ...string) *Locks {
	t.Helper()
	all, err := s.LockAll(t.Context(), keys, req)
	must(t, err)
	return all
}

type resultAll struct {
	all *Locks
	err error
}

// lockingAll calls LockAll on a goroutine of its own.
func lockingAll(ctx context.Context, s *Leases, req Request, keys ...string) <-chan resultAll {
	ch := make(chan resultAll, 1)
	go func() {
		all, err := s.LockAll(ctx, keys, req)
		ch <- resultAll{all, err}
	}()
	return ch
}

// bounded bounds waits that would not end if something went wrong.
var bounded = Request{Bounded: true, Wait: time.Minute}

// settled lets everything that is on its way arrive, and every wait begin.
func settled() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// holding is which of the keys a to d somebody holds on a quorum of three nodes.
func (m memory) holding() (held string) {
	for _, key := range []string{"a", "b", "c", "d"} {
		on := 0
		for _, n := range m {
			if n.Exists("lock:" + key) {
				on++
			}
		}
		if on >= nodeset.Quorum(len(m)) {
			held += key
		}
	}
	return held
}

// two is two processes, of which the second takes keys from the first.
func two(t *testing.T, nodes memory) (s, other *Leases) {
	s = lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
	other = lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
	<-s.opened
	<-other.opened
	return s, other
}

func TestLockAll_FreeKeysCostOneRoundTrip(t *testing.T) {
	virtually(t, func(t *testing.T) {
		const oneWay = 20 * time.Millisecond
		cable := &gate{}
		s := lease(t, newMemory(t, 3).open(t, cable), Config{})
		keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		must(t, lockedAll(t, s, Request{}, keys...).Release(t.Context())) // the nodes know the scripts
		settled()
		cable.delay.Store(int64(oneWay))
		before, began := cable.writes.Load(), time.Now()
		all := lockedAll(t, s, Request{}, keys...)
		if took := time.Since(began); took != oneWay {
			t.Errorf("it took %v, want %v", took, oneWay)
		}
		if writes := cable.writes.Load() - before; writes != 3 {
			t.Errorf("%d writes to 3 nodes", writes)
		}
		must(t, all.Release(t.Context()))
	})
}

func TestLockAll_LocksEachKeyOnceInOrder(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := two(t, nodes)
		all := lockedAll(t, s, bounded, "c", "a", "b", "a")
		if keys := all.Keys(); !slices.Equal(keys, []string{"a", "b", "c"}) {
			t.Errorf("locked %v", keys)
		}
		if token := all.Token("d"); token != 0 {
			t.Errorf("another key has token %d", token)
		}
		if err := all.Err(); err != nil {
			t.Error(err)
		}
		if first := all.leases[0].Deadline(); all.Deadline().After(first) {
			t.Errorf("the deadline is %v after that of a key", all.Deadline().Sub(first))
		}
		for _, key := range all.Keys() {
			if l, ok := Under(all.Context(), key); !ok || l.Token() != all.Token(key) || l.Token() == 0 {
				t.Errorf("the token of %q is %d, and not that of its lease", key, all.Token(key))
			}
			if !s.Holds(all.Context(), key) {
				t.Errorf("%q can be locked once more", key)
			}
		}
		must(t, all.Release(t.Context()))
		if err := all.Release(t.Context()); !errors.Is(err, ErrReleased) {
			t.Errorf("released twice: %v", err)
		}
		if cause := context.Cause(all.Context()); cause != ErrReleased {
			t.Errorf("the context ended by %v", cause)
		}
		for _, key := range all.Keys() {
			must(t, locked(t, other, key, bounded).Release(t.Context()))
		}
	})
}

// While b is waited for, a is held and c is not. Neither has a place in a queue.
func TestLockAll_HoldsOnlyWhatPrecedesTheKeyThatItWaitsFor(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := two(t, nodes)
		b := locked(t, other, "b", Request{})
		got := lockingAll(t.Context(), s, Request{MinHold: time.Hour, Bounded: true, Wait: time.Hour}, "c", "b", "a")
		settled()
		if held := nodes.holding(); held != "ab" {
			t.Errorf("%q are held", held)
		}
		for key, want := range map[string]int{"a": 0, "b": 1, "c": 0} {
			if n := s.queues.Snapshot("lock:" + key).Contenders; n != want {
				t.Errorf("%d contend for %q, want %d", n, key, want)
			}
		}
		c := locked(t, other, "c", bounded)
		must(t, b.Release(t.Context()))
		settled()
		if held := nodes.holding(); held != "abc" {
			t.Errorf("%q are held while it waits for c", held)
		}
		if _, err := other.Lock(t.Context(), "b", Request{Bounded: true}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("b was given back: %v", err)
		}
		must(t, c.Release(t.Context()))
		r := <-got
		must(t, r.err)
		if r.all.Token("b") <= b.Token() || r.all.Token("c") <= c.Token() {
			t.Errorf("tokens %d after %d, and %d after %d", r.all.Token("b"), b.Token(), r.all.Token("c"), c.Token())
		}
	})
}

// Within a process, too, a key that is behind the one that is waited for goes to
// others.
func TestLockAll_DeclinesHandOversOfLaterKeys(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		a, b := locked(t, s, "a", Request{}), locked(t, s, "b", Request{})
		got := lockingAll(t.Context(), s, bounded, "a", "b")
		single := locking(t.Context(), s, "b", Request{})
		settled()
		must(t, b.Release(t.Context()))
		second := (<-single).l
		must(t, a.Release(t.Context()))
		settled()
		if n := s.queues.Snapshot("lock:b").Callers; n != 1 {
			t.Errorf("%d callers wait for b", n)
		}
		must(t, second.Release(t.Context()))
		r := <-got
		must(t, r.err)
		must(t, r.all.Release(t.Context()))
		if n := s.queues.Keys(); n != 0 {
			t.Errorf("%d queues are left", n)
		}
	})
}

func TestLockAll_ALossWhileItWaitsReleasesWhatFollows(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := two(t, nodes)
		d := locked(t, other, "d", Request{})
		got := lockingAll(t.Context(), s, Request{Bounded: true, Wait: time.Hour}, "a", "b", "c", "d")
		settled()
		if held := nodes.holding(); held != "abcd" {
			t.Fatalf("%q are held", held)
		}
		for _, n := range nodes {
			n.Set("lock:b", "somebody")
			n.SetTTL("lock:b", time.Minute)
		}
		time.Sleep(20 * time.Second) // until the next renewal
		if held := nodes.holding(); held != "abd" {
			t.Errorf("%q are held after b was lost", held)
		}
		if n := s.queues.Snapshot("lock:d").Contenders; n != 0 {
			t.Errorf("%d still contend for d", n)
		}
		must(t, locked(t, other, "c", bounded).Release(t.Context()))
		if _, err := other.Lock(t.Context(), "a", Request{Bounded: true}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a was given back: %v", err)
		}
		time.Sleep(time.Minute)
		settled()
		if n := s.queues.Snapshot("lock:d").Contenders; n != 1 {
			t.Errorf("%d contend for d once b was free", n)
		}
		must(t, d.Release(t.Context()))
		r := <-got
		must(t, r.err)
		must(t, r.all.Err())
	})
}

// The context ends before anybody can see the loss, whichever key is lost.
func TestLocks_ALossEndsTheContextWithItsCause(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	for i, key := range []string{"a", "b", "c"} {
		all := lockedAll(t, s, Request{}, "a", "b", "c")
		s.lose(all.leases[i].t, quorumlock.Reason{Text: "by a test"})
		var lost *LostError
		if cause := context.Cause(all.Context()); !errors.As(cause, &lost) || lost.Key != key {
			t.Errorf("%q was lost, and the context ended by %v", key, cause)
		}
		if err := all.Err(); !errors.As(err, &lost) || lost.Key != key {
			t.Errorf("%q was lost: %v", key, err)
		}
		if err := all.Go(func(context.Context) {}); !errors.Is(err, ErrLost) {
			t.Errorf("Go after %q was lost: %v", key, err)
		}
		if err := all.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("the release after %q was lost: %v", key, err)
		}
	}
}

func TestLockAll_AnErrorLeavesNothingHeld(t *testing.T) {
	for name, test := range map[string]struct {
		req   Request
		end   func(cancel func(), s *Leases)
		match func(err error) bool
	}{
		"NoWait": {Request{Bounded: true}, nil, func(err error) bool { return !errors.Is(err, context.DeadlineExceeded) }},
		"Wait": {Request{Bounded: true, Wait: time.Second}, nil, func(err error) bool {
			return strings.Contains(err.Error(), "not acquired within 1s") && !errors.Is(err, context.DeadlineExceeded)
		}},
		"cancel": {Request{}, func(cancel func(), _ *Leases) { cancel() }, func(err error) bool { return errors.Is(err, context.Canceled) }},
		"Close":  {Request{}, func(_ func(), s *Leases) { go s.Close(context.Background()) }, func(err error) bool { return errors.Is(err, ErrClosed) }},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				s, other := two(t, nodes)
				locked(t, other, "b", Request{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := lockingAll(ctx, s, test.req, "a", "b", "c")
				if settled(); test.end != nil {
					test.end(cancel, s)
				}
				r := <-got
				var held *NotAcquiredError
				if r.all != nil || !test.match(r.err) || errors.As(r.err, &held) && held.Key != "b" {
					t.Errorf("%v, %v", r.all, r.err)
				}
				settled()
				if held := nodes.holding(); held != "b" {
					t.Errorf("%q are held", held)
				}
				if n := s.queues.Keys(); n != 0 {
					t.Errorf("%d queues are left", n)
				}
			})
		})
	}
}

func TestLockAll_ADeadContextAcquiresNothing(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if all, err := s.LockAll(ctx, []string{"a", "b"}, Request{}); all != nil || !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcquired) {
		t.Errorf("%v, %v", all, err)
	}
}

func TestLockAll_ABackoffThatPanicsLeavesNothingHeld(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		_, other := two(t, nodes)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: func(int) time.Duration { panic("by a test") }})
		locked(t, other, "b", Request{})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("nothing panicked")
				}
			}()
			s.LockAll(t.Context(), []string{"a", "b"}, Request{})
		}()
		settled()
		if held := nodes.holding(); held != "b" {
			t.Errorf("%q are held", held)
		}
	})
}

// A later key that is given up is retained, as one that is released. Another process
// gets it all the same, and so does the call when its turn has come.
func TestLockAll_ARetainedKeyCountsAsFree(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		_, other := two(t, nodes)
		s := lease(t, nodes.open(t, &gate{}), Config{Retain: time.Minute, Backoff: hourly})
		<-s.opened
		settled()
		must(t, locked(t, s, "c", bounded).Release(t.Context()))
		if settled(); nodes.holding() != "c" {
			t.Fatal("c is not retained")
		}
		b := locked(t, other, "b", bounded)
		got := lockingAll(t.Context(), s, bounded, "a", "b", "c")
		settled()
		began := time.Now()
		c := locked(t, other, "c", bounded)
		if took := time.Since(began); took > time.Second {
			t.Errorf("another process got c after %v", took)
		}
		must(t, c.Release(t.Context()))
		must(t, b.Release(t.Context()))
		r := <-got
		must(t, r.err)
		if r.all.Token("c") <= c.Token() {
			t.Errorf("c has token %d after %d", r.all.Token("c"), c.Token())
		}
	})
}

// A wait for another key takes nothing off MaxHold, and nothing off MinHold.
func TestLockAll_MinHoldAndMaxHoldBeginWhenAllAreHeld(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := two(t, nodes)
		b := locked(t, other, "b", Request{})
		got := lockingAll(t.Context(), s, Request{MinHold: 20 * time.Second, MaxHold: time.Minute}, "a", "b")
		time.Sleep(5 * time.Minute)
		must(t, b.Release(t.Context()))
		r := <-got
		must(t, r.err)
		if n := s.Stats().Losses; n != 0 {
			t.Errorf("%d keys were lost while b was waited for", n)
		}
		began := time.Now()
		<-r.all.Context().Done()
		if held := time.Since(began); held < time.Minute-tick || held > time.Minute || !errors.Is(r.all.Err(), ErrLost) {
			t.Errorf("it ended after %v by %v", held, r.all.Err())
		}
		r.all.Release(t.Context())
		settled()

		all := lockedAll(t, s, Request{MinHold: 20 * time.Second}, "a", "b")
		began = time.Now()
		must(t, all.Release(t.Context()))
		must(t, locked(t, s, "a", bounded).Release(t.Context())) // also to the same process
		if kept := time.Since(began); kept < 20*time.Second {
			t.Errorf("a was kept for %v", kept)
		}
	})
}

// A MaxHold begins for the keys that are read as for those that are written, and
// ends only this call's part of what other readers of the process share.
func TestLockAll_MaxHoldEndsSharedKeysAsWell(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := two(t, nodes)
		reader := locked(t, s, "a", Request{Shared: true})
		b := locked(t, other, "b", Request{})
		keys, req := Options([]Option{SharedKeys([]string{"a", "b"}), MaxHold(time.Minute)}).Several(nil)
		got := lockingAll(t.Context(), s, req, keys...)
		time.Sleep(5 * time.Minute)
		must(t, b.Release(t.Context()))
		r := <-got
		must(t, r.err)
		began := time.Now()
		<-r.all.leases[0].Context().Done()
		if held := time.Since(began); held < time.Minute-tick || held > time.Minute || !errors.Is(r.all.Err(), ErrLost) {
			t.Errorf("it ended after %v by %v", held, r.all.Err())
		}
		if err := reader.Err(); err != nil {
			t.Errorf("the other reader ended with it: %v", err)
		}
		r.all.Release(t.Context())
		must(t, reader.Release(t.Context()))
		settled()
		must(t, locked(t, other, "a", bounded).Release(t.Context()))
	})
}

func TestLocks_Release_WaitsForItsWork(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		all := lockedAll(t, s, Request{}, "a", "b")
		mayEnd := make(chan struct{})
		must(t, all.Go(func(ctx context.Context) {
			<-ctx.Done()
			<-mayEnd
		}))
		released := make(chan error, 1)
		go func() { released <- all.Release(context.Background()) }()
		time.Sleep(time.Minute)
		if held := nodes.holding(); held != "ab" || context.Cause(all.Context()) != ErrReleased {
			t.Errorf("before its work has returned %q are held, and the context ended by %v", held, context.Cause(all.Context()))
		}
		close(mayEnd)
		must(t, <-released)
		settled()
		if held := nodes.holding(); held != "" {
			t.Errorf("%q are held", held)
		}
	})
}

func TestLockAll_NamesABadRequestBeforeItAsks(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	many := make([]string, MaxKeys+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, test := range map[string]struct {
		keys []string
		req  Request
		want string
	}{
		"no key":      {nil, Request{}, "keys: is empty"},
		"many":        {many, Request{}, "keys: 65 different keys; at most 64"},
		"an empty":    {[]string{"a", ""}, Request{}, "key: is empty"},
		"a bad Wait":  {[]string{"a"}, Request{Bounded: true, Wait: -1}, "Wait: "},
		"a bad range": {[]string{"a"}, Request{MinHold: 2, MaxHold: 1}, "MinHold: "},
	} {
		if all, err := s.LockAll(t.Context(), test.keys, test.req); all != nil || !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
	release := lockedAll(t, s, Request{}, many[1:]...)
	must(t, release.Release(t.Context()))
}

// Calls for any keys in any order, single ones among them, of several goroutines of
// two processes: all are served.
func TestLockAll_AnyMixIsServed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		const callers, rounds = 3, 6
		keys := []string{"a", "b", "c", "d"}
		var inside [4]sync.Mutex
		var wg sync.WaitGroup
		for p := range 2 {
			s := patient(t, nodes)
			for c := range callers {
				wg.Go(func() {
					rng := rand.New(rand.NewSource(int64(10*p + c)))
					for range rounds {
						some := rng.Perm(len(keys))[:1+rng.Intn(3)]
						want := make([]string, len(some))
						for i, k := range some {
							want[i] = keys[k]
						}
						all, err := s.LockAll(t.Context(), want, Request{})
						if err != nil {
							t.Error(err)
							return
						}
						for _, k := range some {
							if !inside[k].TryLock() {
								t.Errorf("%q is held twice", keys[k])
								return
							}
						}
						for _, k := range some {
							inside[k].Unlock()
						}
						if err := all.Release(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
	})
}

// The call waits anyway, and is announced then: it must not hold later keys meanwhile.
func TestLockAll_AsksNobodyForARetainedKeyBeforeItWaits(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		retainer := retaining(t, nodes, long)
		release(t, locked(t, retainer, "a", Request{}))
		slow := &gate{}
		s := lease(t, nodes.open(t, slow), Config{})
		<-s.opened
		slow.delay.Store(int64(10 * time.Millisecond))
		done := make(chan *Locks, 1)
		go func() {
			all, err := s.LockAll(t.Context(), []string{"a", "b"}, Request{})
			if err != nil {
				t.Error(err)
			}
			done <- all
		}()
		had, gaveBack := false, false // the key behind the one that it waits for
		for len(done) == 0 {
			time.Sleep(time.Millisecond)
			n := nodes.having("lock:b")
			had, gaveBack = had || n == 3, gaveBack || had && n == 0
		}
		if !gaveBack {
			t.Error("it kept a key behind the one that it waited for")
		}
		all := <-done
		if got := retainer.Stats().HandOvers; got != 0 {
			t.Errorf("%d hand-overs", got)
		}
		must(t, all.Release(t.Context()))
	})
}

// Close has begun to release what is held when the call that it ends gives up its
// keys.
func TestLockAll_AKeyThatCloseKeepsForMinHoldIsReleasedByTheFailedCall(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{TTL: long})
		l := locked(t, s, "a", Request{MinHold: time.Hour})
		release(t, l) // by Close
		giveUpAll([]*Lease{l})
		must(t, s.Close(t.Context()))
		time.Sleep(time.Second)
		if n := nodes.having("lock:a"); n != 0 {
			t.Errorf("%d nodes keep a key of a call that failed", n)
		}
	})
}
