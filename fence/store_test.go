package fence_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// forgetful is what every store here is.
type forgetful interface {
	fence.ReadStore
	Forget(ctx context.Context, key string) error
}

// forgetsBeside is Redis with the Forget of the others.
type forgetsBeside struct{ fence.Redis }

func (r forgetsBeside) Forget(ctx context.Context, key string) error { return r.Redis.Forget(ctx, key) }

// onStores runs fn on a fresh store of each kind.
func onStores(t *testing.T, fn func(t *testing.T, s forgetful)) {
	t.Run("memory", func(t *testing.T) { fn(t, new(fence.Memory)) })
	t.Run("file", func(t *testing.T) { fn(t, fence.File{Path: t.TempDir() + "/fence"}) })
	t.Run("redis", func(t *testing.T) {
		harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
			fn(t, forgetsBeside{fence.Redis{Client: harness.Client(t, nodes, 0)}})
		})
	})
}

// stale checks that err refuses token of key, because of newest.
func stale(t *testing.T, err error, key string, token, newest int64) {
	t.Helper()
	var got *fence.StaleError
	if !errors.As(err, &got) || !errors.Is(err, fence.ErrStale) {
		t.Fatalf("token %d of %.20q: %v, want stale", token, key, err)
	}
	if want := (fence.StaleError{Key: key, Token: token, Newest: newest}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

func pass(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStores_ATokenPassesUntilANewerOneWasSeen(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		ctx := t.Context()
		pass(t, s.CheckToken(ctx, "k", 7))
		pass(t, s.CheckToken(ctx, "k", 7))
		pass(t, s.CheckToken(ctx, "other", 3))
		pass(t, s.CheckToken(ctx, "k", 9))
		stale(t, s.CheckToken(ctx, "k", 7), "k", 7, 9)
		stale(t, s.CheckToken(ctx, "k", 8), "k", 8, 9)
		pass(t, s.CheckToken(ctx, "other", 3))
		pass(t, s.CheckToken(ctx, "k", 9))
		pass(t, s.CheckToken(ctx, "k", fence.MaxToken-1))
		stale(t, s.CheckToken(ctx, "k", fence.MaxToken-2), "k", fence.MaxToken-2, fence.MaxToken-1)
	})
}

// Whatever is checked in whatever order, the store is as if no refused check had
// been made.
func TestStores_ARefusedCheckChangesNoToken(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		seed := rand.Uint64()
		r, newest := rand.New(rand.NewPCG(seed, 0)), map[string]int64{}
		for range 300 {
			key, token := string('a'+rune(r.IntN(3))), 1+r.Int64N(50)
			err := s.CheckToken(t.Context(), key, token)
			if token < newest[key] {
				stale(t, err, key, token, newest[key])
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: token %d after %d of %q: %v", seed, token, newest[key], key, err)
			}
			newest[key] = token
		}
		for key, token := range newest {
			stale(t, s.CheckToken(t.Context(), key, token-1), key, token-1, token)
			pass(t, s.CheckToken(t.Context(), key, token))
		}
	})
}

// oddKeys hold what could end a name or a line, and more bytes than most names
// have.
func oddKeys() []string {
	all := []string{"%", "%25", "}", "%7D", "a}:c", "{a}", "{", "a;1", "a,b", "a\nb", "a\r\n", " ", "\x00", "\xff\xfe", "ключ", "'; DROP TABLE x", "../x"}
	var every strings.Builder
	for i := range 256 {
		every.WriteByte(byte(i))
	}
	return append(all, strings.Repeat(every.String(), 4), strings.Repeat("k", 1024), strings.Repeat("k", 1023))
}

func TestStores_KeysOfAnyBytesAreKeptApart(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		for i, key := range oddKeys() {
			pass(t, s.CheckToken(t.Context(), key, int64(1000-i))) // falling: a key that is taken for one before is refused
		}
		for i, key := range oddKeys() {
			stale(t, s.CheckToken(t.Context(), key, int64(999-i)), key, int64(999-i), int64(1000-i))
		}
	})
}

func TestStores_WhatIsNoTokenIsRefused(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		for _, token := range []int64{0, -1, fence.MaxToken} {
			if err := s.CheckToken(t.Context(), "k", token); err == nil || errors.Is(err, fence.ErrStale) {
				t.Errorf("token %d: %v", token, err)
			}
		}
		if err := s.CheckToken(t.Context(), "", 1); err == nil {
			t.Error("an empty key passed")
		}
	})
}

func TestStores_AForgottenKeyBeginsAgain(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		pass(t, s.CheckToken(t.Context(), "k", 9))
		pass(t, s.CheckToken(t.Context(), "other", 9))
		pass(t, s.Forget(t.Context(), "k"))
		pass(t, s.Forget(t.Context(), "never seen"))
		pass(t, s.CheckToken(t.Context(), "k", 1))
		stale(t, s.CheckToken(t.Context(), "other", 1), "other", 1, 9)
	})
}

func TestStores_AnEndedContextIsAnErrorAndChangesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the test says so"))
		err := s.CheckToken(ctx, "k", 9)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the test says so") {
			t.Errorf("CheckToken: %v", err)
		}
		pass(t, s.CheckToken(t.Context(), "k", 1))
	})
}

// Of checks that overlap in any order, none passes that begins after a newer
// one has passed.
func TestStores_ConcurrentChecksLeaveTheNewest(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		const writers = 64
		var newest atomic.Int64
		var wg sync.WaitGroup
		faults := make(chan error, writers)
		for _, n := range rand.Perm(writers) {
			wg.Go(func() {
				token, before := int64(n+1), newest.Load()
				err := s.CheckToken(t.Context(), "k", token)
				switch {
				case err == nil && token < before:
					faults <- fmt.Errorf("token %d passed after %d", token, before)
				case err == nil:
					for old := newest.Load(); old < token && !newest.CompareAndSwap(old, token); old = newest.Load() {
					}
				case !errors.Is(err, fence.ErrStale):
					faults <- err
				}
			})
		}
		wg.Wait()
		close(faults)
		for err := range faults {
			t.Error(err)
		}
		stale(t, s.CheckToken(t.Context(), "k", writers-1), "k", writers-1, writers)
	})
}
