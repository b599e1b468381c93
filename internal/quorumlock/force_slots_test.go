package quorumlock

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// The holder's requests reach nodes that were asked already while another has
// not answered yet.
func TestForceRelease_TakesASlotAgainThatTheHolderSetBesideIt(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, admin := r.redlock(r.open(patient), Config{}), r.redlock(r.open(patient), Config{})
		warm(t, admin)
		h := acquireEverywhere(t, red, "k", Request{Limit: 2})
		seen, ctx := inspect(t, admin, "k"), t.Context()
		slots, slot := limitNames("lock:k")[4], strconv.Itoa(h.Slot())
		r.pause(1)
		ended := make(chan error, 1)
		go func() {
			_, err := admin.ForceRelease(ctx, seen, "ann")
			ended <- err
		}()
		value := "0 " + h.Value()
		for _, i := range []int{0, 2} {
			harness.Eventually(t, "the slot is taken away", func() bool { return r.Clients[i].HGet(ctx, slots, slot).Val() != value })
			must(t, r.Clients[i].HSet(ctx, slots, slot, value, h.Value(), slot).Err())
		}
		r.resume(1)
		must(t, harness.Receive(t, "the end of the release", ended))
		if err := h.ExtendNow(ctx, h.TTL()); !errors.Is(err, ErrLost) {
			t.Errorf("after it, its holder's renewal ended by %v", err)
		}
	})
}

// Renewals have missed the first node, where the slot would be free long before the
// holder's deadline.
func TestForceRelease_KeepsASlotEverywhereUntilTheHoldersDeadline(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{}), t.Context()
		h := acquireEverywhere(t, red, "k", Request{Limit: 2})
		until, slot := limitNames("lock:k")[5], strconv.Itoa(h.Slot())
		soon := float64(time.Now().Add(h.TTL() / 4).UnixMilli())
		must(t, r.Clients[0].ZAdd(ctx, until, redis.Z{Score: soon, Member: slot}).Err())
		_, err := red.ForceRelease(ctx, inspect(t, red, "k"), "ann")
		must(t, err)
		for i := range 3 {
			if at := r.Clients[i].ZScore(ctx, until, slot).Val(); at < float64(time.Now().Add(h.TTL()/2).UnixMilli()) {
				t.Errorf("node %d keeps the slot until %.0f, and it is %d", i, at, time.Now().UnixMilli())
			}
		}
	})
}
