package quorumlock

import (
	"context"
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

// A mark that has expired is none, also where nobody has purged it.
func TestScripts_SeizeSlot_TellsAMarkThatWasThere(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		seize := func() any {
			return b.slots(limitSource+limitSeizeSource, "P/1/", "limit:2", 0, "forced", 100, forcedTag, 2).([]any)[0]
		}
		expect(t, "the first time", seize(), int64(1))
		expect(t, "once more", seize(), int64(3))
		now := b.Clients[0].Time(t.Context()).Val().UnixMilli()
		b.Clients[0].ZAdd(t.Context(), Companion("lock:k", "until"), redis.Z{Score: float64(now - 1), Member: "0"})
		expect(t, "after it has expired", seize(), int64(1))
	})
}

// The time is over after the first slot.
func TestForceRelease_OfSlotsSaysThatItEndedEarly(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		for range 2 {
			acquireEverywhere(t, red, "k", Request{Limit: 2})
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		_, err := red.forceSlots(ctx, inspect(t, red, "k"), func(Slot) (time.Duration, error) {
			asked++
			cancel()
			return time.Second, nil
		})
		if asked != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d slots were asked for: %v", asked, err)
		}
	})
}
