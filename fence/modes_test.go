package fence_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// newLocker is that of a process, on nodes of its own.
func newLocker(t *testing.T) *lock.Locker {
	t.Helper()
	k, err := lock.New(newCluster(t), lock.Config{TTL: 30 * time.Second})
	pass(t, err)
	harness.CloseAtEnd(t, k)
	return k
}

// The holders of two slots write in turns. A newer holder of the same slot ends
// that.
func TestCheck_EachSlotHasTokensOfItsOwn(t *testing.T) {
	k, m, ctx := newLocker(t), &fence.Memory{}, t.Context()
	first, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	second, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	for range 2 {
		pass(t, fence.Check(second.Context(), m, "gpu"))
		pass(t, fence.Check(first.Context(), m, "gpu"))
	}
	late := first.Context()
	pass(t, first.Release(ctx))
	third, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	if third.Slot() != first.Slot() {
		t.Fatalf("slot %d is not the one that came free, %d", third.Slot(), first.Slot())
	}
	pass(t, fence.Check(third.Context(), m, "gpu"))
	pass(t, fence.Check(second.Context(), m, "gpu"))
	if err := fence.Check(late, m, "gpu"); !errors.Is(err, fence.ErrStale) {
		t.Errorf("a late writer of the slot: %v", err)
	}
	var stale *fence.StaleError
	if err := fence.Check(late, m, "gpu"); !errors.As(err, &stale) || stale.Key != fmt.Sprintf("gpu#%d", first.Slot()) {
		t.Errorf("it names %+v", stale)
	}
}

// A slot travels with its token.
func TestSetHeader_CarriesTheSlot(t *testing.T) {
	k, m, ctx := newLocker(t), &fence.Memory{}, t.Context()
	l, err := k.Lock(ctx, "gpu", lock.Limit(2))
	pass(t, err)
	var sent string
	trip := fence.RoundTripper{Base: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r.Header.Get(fence.Header)
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	})}
	r, err := http.NewRequestWithContext(l.Context(), http.MethodPut, "http://example.com", nil)
	pass(t, err)
	_, err = trip.RoundTrip(r)
	pass(t, err)
	want := fence.Token{Key: fmt.Sprintf("gpu#%d", l.Slot()), Number: l.Token()}
	if sent != want.String() {
		t.Fatalf("sent %q, want %q", sent, want)
	}
	h := http.Header{}
	pass(t, fence.SetHeader(l.Context(), h, "gpu"))
	if h.Get(fence.Header) != sent {
		t.Errorf("with the key: %q, want %q", h.Get(fence.Header), sent)
	}
	received := fence.WithToken(ctx, want.Key, want.Number)
	pass(t, fence.Check(received, m, "gpu"))
	pass(t, fence.Check(received, m, want.Key))
	if err := m.CheckToken(ctx, want.Key, want.Number-1); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the store does not know the slot: %v", err)
	}
	// What arrived is used, also under a lock around it.
	arrived := fence.WithToken(l.Context(), want.Key, want.Number-1)
	if err := fence.Check(arrived, m, "gpu"); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the token that arrived: %v", err)
	}
	// A key that only looks like a slot of another, which is locked as a whole.
	whole, err := k.Lock(ctx, "x")
	pass(t, err)
	pass(t, m.CheckToken(ctx, "x", whole.Token()+1))
	odd := fence.WithToken(whole.Context(), "x#1", 5)
	if err := fence.Check(odd, m, "x"); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the token of the lock around it was not used: %v", err)
	}
	pass(t, fence.Check(odd, m, "x#1"))
	if err := fence.Check(received, m, "gp"); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("a key that is none of it: %v", err)
	}
	for _, key := range []string{"gpu#", "gpu#x", "gpu#01", "gpu#-1", "gpu#1#2"} {
		if err := fence.Check(fence.WithToken(context.Background(), key, 1), m, "gpu"); !errors.Is(err, fence.ErrNoToken) {
			t.Errorf("%q is taken for a slot: %v", key, err)
		}
	}
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
