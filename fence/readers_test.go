package fence_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// staleReader checks that err refuses a writer with token of key, because of a
// reader.
func staleReader(t *testing.T, err error, key string, token, newest int64) {
	t.Helper()
	var got *fence.StaleError
	if !errors.As(err, &got) || *got != (fence.StaleError{Key: key, Token: token, Newest: newest, Reader: true}) {
		t.Errorf("token %d of %.20q: %v, want stale because of a reader with %d", token, key, err, newest)
	}
	if err != nil && !strings.Contains(err.Error(), "of a reader was seen") {
		t.Errorf("the error does not say that it was a reader: %v", err)
	}
}

func TestStores_AReaderIsRefusedByNewerWritersAndRefusesOlderOnes(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		ctx := t.Context()
		pass(t, s.CheckToken(ctx, "k", 7))
		pass(t, s.CheckReadToken(ctx, "k", 9))
		pass(t, s.CheckReadToken(ctx, "k", 8))
		pass(t, s.CheckReadToken(ctx, "k", 9))
		pass(t, s.CheckReadToken(ctx, "k", 7))
		stale(t, s.CheckReadToken(ctx, "k", 6), "k", 6, 7)
		staleReader(t, s.CheckToken(ctx, "k", 7), "k", 7, 9)
		staleReader(t, s.CheckToken(ctx, "k", 9), "k", 9, 9)
		pass(t, s.CheckToken(ctx, "other", 3))
		pass(t, s.CheckToken(ctx, "k", 10))
		stale(t, s.CheckReadToken(ctx, "k", 9), "k", 9, 10)
		pass(t, s.CheckReadToken(ctx, "k", 10))
		staleReader(t, s.CheckToken(ctx, "k", 10), "k", 10, 10)
		pass(t, s.CheckReadToken(ctx, "new", 5))
		staleReader(t, s.CheckToken(ctx, "new", 5), "new", 5, 5)
		pass(t, s.CheckToken(ctx, "new", 6))
		pass(t, s.Forget(ctx, "k"))
		pass(t, s.CheckToken(ctx, "k", 1))
		pass(t, s.CheckReadToken(ctx, "k", fence.MaxToken-1))
		staleReader(t, s.CheckToken(ctx, "k", fence.MaxToken-1), "k", fence.MaxToken-1, fence.MaxToken-1)
	})
}

// Every store does what the two numbers of a key say, and a refused check
// changes neither.
func TestStores_WritersAndReadersInAnyOrder(t *testing.T) {
	type numbers struct{ writer, reader int64 }
	onStores(t, func(t *testing.T, s forgetful) {
		seed := rand.Uint64()
		r, all := rand.New(rand.NewPCG(seed, 0)), map[string]numbers{}
		for i := range 400 {
			key, token, reads := string('a'+rune(r.IntN(3))), 1+int64(i/40)+r.Int64N(8), r.IntN(2) == 0
			has, check := all[key], s.CheckToken
			refused := token < has.writer || !reads && token <= has.reader
			if reads {
				check = s.CheckReadToken
			}
			err := check(t.Context(), key, token)
			if refused != errors.Is(err, fence.ErrStale) || !refused && err != nil {
				t.Fatalf("seed %d: token %d after %+v of %q, reads: %t: %v", seed, token, has, key, reads, err)
			}
			switch {
			case refused:
			case reads:
				has.reader = max(has.reader, token)
			default:
				has.writer = token
			}
			all[key] = has
		}
	})
}

func TestStores_WhatIsNoTokenOfAReaderIsRefused(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		for _, token := range []int64{0, -1, fence.MaxToken} {
			if err := s.CheckReadToken(t.Context(), "k", token); err == nil || errors.Is(err, fence.ErrStale) {
				t.Errorf("token %d: %v", token, err)
			}
		}
		if err := s.CheckReadToken(t.Context(), "", 1); err == nil {
			t.Error("an empty key passed")
		}
	})
}

// raise makes n at least token.
func raise(n *atomic.Int64, token int64) {
	for old := n.Load(); old < token && !n.CompareAndSwap(old, token); old = n.Load() {
	}
}

// Readers and writers whose tokens are mixed, and some equal, check at the same
// time. None passes that begins after one that refuses it has passed, and none
// is refused by what nobody has.
func TestStores_ConcurrentReadersAndWriters(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		const holders = 64 // writers 1, 3, 5, … 63 beside readers 32, 33, 34, … 63
		var writer, reader atomic.Int64
		var wg sync.WaitGroup
		for _, n := range rand.Perm(holders) {
			wg.Go(func() {
				reads, token, check, newest := n%2 == 1, int64(n+1), s.CheckToken, &writer
				if reads {
					token, check, newest = int64(n/2+holders/2), s.CheckReadToken, &reader
				}
				fromWriter, fromReader := writer.Load(), reader.Load()
				err := check(t.Context(), "k", token)
				var stale *fence.StaleError
				switch {
				case err == nil && (token < fromWriter || !reads && token <= fromReader):
					t.Errorf("token %d, reads: %t, passed after writer %d and reader %d", token, reads, fromWriter, fromReader)
				case err == nil:
					raise(newest, token)
				case !errors.As(err, &stale):
					t.Error(err)
				case stale.Newest < token, stale.Newest == token && !stale.Reader, stale.Newest >= holders, stale.Reader && (reads || stale.Newest < holders/2),
					!stale.Reader && stale.Newest%2 == 0:
					t.Errorf("token %d, reads: %t, is refused by %+v", token, reads, stale)
				}
			})
		}
		wg.Wait()
		if last := reader.Load(); last >= writer.Load() {
			staleReader(t, s.CheckToken(t.Context(), "k", last), "k", last, last)
		}
		pass(t, s.CheckToken(t.Context(), "k", holders))
		stale(t, s.CheckReadToken(t.Context(), "k", holders-1), "k", holders-1, holders)
	})
}

// newProcess are the locks and leases of one process on c.
func newProcess(t *testing.T, c *cluster.Cluster) (*lock.Locker, *lease.Leases) {
	t.Helper()
	k, err := lock.New(c, lock.Config{TTL: 30 * time.Second})
	pass(t, err)
	harness.CloseAtEnd(t, k)
	leases, err := lease.New(c, lease.Config{TTL: 30 * time.Second})
	pass(t, err)
	harness.CloseAtEnd(t, leases)
	return k, leases
}

// A writer's late write is refused though it has the token of the reader that
// came after it, and so is the late reader after the next writer.
func TestCheckRead_BesideWritersOfTheLibrary(t *testing.T) {
	began, nodes, m, ctx := time.Now(), harness.Embedded(t, 1), new(fence.Memory), t.Context()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), NodeTimeout: 5 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	// A counter that is younger than the node's memory starts from the clock.
	counter := time.Now().Add(10 * time.Minute).UnixMicro()
	pass(t, harness.Client(t, nodes, 0).Set(ctx, "{lock:catalog}:fence", counter, time.Hour).Err())
	k, leases := newProcess(t, c)
	other, _ := newProcess(t, c)
	writer, late := under(t, ctx, leases, "catalog")
	pass(t, fence.Check(late, m, "catalog"))
	pass(t, writer.Release(ctx))
	reader, err := k.Lock(ctx, "catalog", lock.Shared())
	pass(t, err)
	second, err := other.Lock(ctx, "catalog", lock.Shared())
	pass(t, err)
	joined, err := k.Lock(ctx, "catalog", lock.Shared())
	pass(t, err)
	for range 2 {
		for _, r := range []*lease.Lease{reader, second, joined} {
			pass(t, fence.CheckRead(r.Context(), m, "catalog"))
		}
	}
	if reader.Token() != writer.Token() {
		t.Errorf("the reader has token %d after a writer with %d; the case that this test is for does not happen", reader.Token(), writer.Token())
	}
	staleReader(t, fence.Check(late, m, "catalog"), "catalog", writer.Token(), reader.Token())
	lateReader := reader.Context()
	for _, r := range []*lease.Lease{reader, second, joined} {
		pass(t, r.Release(ctx))
	}
	next, now := under(t, ctx, leases, "catalog")
	pass(t, fence.Check(now, m, "catalog"))
	stale(t, fence.CheckRead(lateReader, m, "catalog"), "catalog", reader.Token(), next.Token())
	pass(t, fence.Check(now, m, "catalog"))
}

// refusesToWrite checks that err says what a reader does instead.
func refusesToWrite(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "CheckRead") || errors.Is(err, fence.ErrNoToken) {
		t.Errorf("a write under a shared lock: %v", err)
	}
}

func TestCheck_UnderASharedLockNamesCheckRead(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	l, err := k.Lock(ctx, "catalog", lock.Shared())
	pass(t, err)
	refusesToWrite(t, fence.Check(l.Context(), m, "catalog"))
	refusesToWrite(t, fence.Check(fence.WithReadToken(ctx, "catalog", 5), m, "catalog"))
	pass(t, m.CheckToken(ctx, "catalog", 1))
}

// Writing ends with Downgrade, and what was written before does not keep the
// reader out.
func TestCheckRead_AfterADowngrade(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	pass(t, k.WithLock(ctx, "catalog", func(ctx context.Context) error {
		written, _ := lock.Token(ctx)
		pass(t, fence.Check(ctx, m, "catalog"))
		pass(t, fence.CheckRead(ctx, m, "catalog"))
		pass(t, fence.Check(ctx, m, "catalog"))
		l, _ := lease.FromContext(ctx)
		pass(t, l.Downgrade(ctx))
		pass(t, fence.CheckRead(ctx, m, "catalog"))
		refusesToWrite(t, fence.Check(ctx, m, "catalog"))
		staleReader(t, m.CheckToken(ctx, "catalog", written), "catalog", written, l.Token())
		return nil
	}))
	pass(t, k.WithLock(ctx, "catalog", func(ctx context.Context) error { return fence.Check(ctx, m, "catalog") }))
}

// Under a lock that is not shared, the holder may read and write in any order.
func TestCheckRead_UnderAnExclusiveLock(t *testing.T) {
	leases, m := newLeases(t), new(fence.Memory)
	first, late := under(t, t.Context(), leases, "k")
	pass(t, fence.Check(late, m, "k"))
	pass(t, first.Release(t.Context()))
	l, ctx := under(t, t.Context(), leases, "k")
	pass(t, fence.CheckRead(ctx, m, "k"))
	stale(t, fence.Check(late, m, "k"), "k", first.Token(), l.Token())
	stale(t, fence.CheckRead(late, m, "k"), "k", first.Token(), l.Token())
	pass(t, fence.Check(ctx, m, "k"))
	pass(t, fence.CheckRead(ctx, m, "k"))
	if err := fence.CheckRead(ctx, m, "none"); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("under no lock: %v", err)
	}
}

func TestCheckRead_EachKeyHasItsOwnMode(t *testing.T) {
	k, m := newLocker(t), new(fence.Memory)
	pass(t, k.WithLocks(t.Context(), []string{"account:7"}, func(ctx context.Context) error {
		pass(t, fence.CheckRead(ctx, m, "rates"))
		pass(t, fence.Check(ctx, m, "account:7"))
		refusesToWrite(t, fence.Check(ctx, m, "rates"))
		rates, _ := lock.TokenOf(ctx, "rates")
		staleReader(t, m.CheckToken(ctx, "rates", rates), "rates", rates, rates)
		return nil
	}, lock.SharedKeys("rates")))
}

func TestCheckRead_EachSlotHasTokensOfItsOwn(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	first, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	second, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	for range 2 {
		pass(t, fence.CheckRead(second.Context(), m, "gpu"))
		pass(t, fence.CheckRead(first.Context(), m, "gpu"))
		pass(t, fence.Check(first.Context(), m, "gpu"))
	}
}

// The answer comes from the store after the lock is lost, too.
func TestCheckRead_AnswersAfterTheLockWasLost(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	l, err := k.Lock(ctx, "k", lock.Shared())
	pass(t, err)
	late := l.Context()
	pass(t, l.Release(ctx))
	<-late.Done()
	pass(t, fence.CheckRead(late, m, "k"))
	pass(t, m.CheckToken(ctx, "k", l.Token()+1))
	stale(t, fence.CheckRead(late, m, "k"), "k", l.Token(), l.Token()+1)
}

// Lines of readers are the only thing that is new in a token file.
func TestFile_ReadsWhatTheVersionBeforeWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	content := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file has %q, want %q: %v", got, want, err)
		}
	}
	pass(t, os.WriteFile(path, []byte("redlock fence 1\na;7\nk%20;9\n"), 0o600))
	pass(t, f.CheckReadToken(t.Context(), "k ", 9))
	stale(t, f.CheckReadToken(t.Context(), "a", 6), "a", 6, 7)
	staleReader(t, f.CheckToken(t.Context(), "k ", 9), "k ", 9, 9)
	pass(t, f.CheckReadToken(t.Context(), "new", 3))
	content("redlock fence 1\na;7\nk%20;9;9\nnew;0;3\n")
	pass(t, f.CheckToken(t.Context(), "a", 8))
	pass(t, f.CheckToken(t.Context(), "new", 4))
	content("redlock fence 1\na;8\nk%20;9;9\nnew;4;3\n")
	for _, line := range []string{"k;0", "k;0;0", "k;1;0", "k;1;shared", "k;1;2;3", "k;1;02", "k;01;2", "k;-1;2", "k;1;", "k;;1", ";1;2", "k;00;1"} {
		pass(t, os.WriteFile(path, []byte("redlock fence 1\n"+line+"\n"), 0o600))
		if err := f.CheckReadToken(t.Context(), "k", 9); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q is read: %v", line, err)
		}
	}
}

func TestFile_IsNotRewrittenForAReaderThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	pass(t, f.CheckReadToken(t.Context(), "k", 7))
	before, err := os.Stat(path)
	pass(t, err)
	pass(t, f.CheckReadToken(t.Context(), "k", 7))
	pass(t, f.CheckReadToken(t.Context(), "k", 6))
	after, err := os.Stat(path)
	pass(t, err)
	if !os.SameFile(before, after) {
		t.Error("it was replaced")
	}
}
