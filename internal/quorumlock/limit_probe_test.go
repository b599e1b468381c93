package quorumlock

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A reservation that is over does not keep its waiter from being woken when
// another leaves.
func TestScripts_LeaveSlots_WakesAWaiterWhoseReservationIsOver(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		b.refuseSlot(slotAsk{value: "Q/1/", process: "Q", limit: 2, queue: true})
		<-heard
		b.releaseSlot("P/1/", 2, "")
		if got := <-heard; got != "Q s0:lock:k" {
			t.Fatalf("heard %q", got)
		}
		now := b.Clients[0].Time(t.Context()).Val().UnixMilli()
		b.Clients[0].ZAdd(t.Context(), Companion("lock:k", "until"), redis.Z{Score: float64(now - 1), Member: "@Q/s"})
		b.leaveSlots("R", false)
		select {
		case got := <-heard:
			if got != "Q s0:lock:k" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(3 * time.Second):
			t.Error("a slot is free, nothing is reserved any more, and nobody is woken")
		}
	})
}

func TestLimit_ASlotThatWasTakenByForceCanBeReleasedAtOnce(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		acquireEverywhere(t, red, "p", Request{})
		for _, key := range []string{"p", "k"} {
			if key == "k" {
				hold(t, red, 2)
			}
			seen, err := red.Inspect(ctx, key)
			must(t, err)
			_, err = red.ForceRelease(ctx, seen, "ann")
			must(t, err)
			seen, err = red.Inspect(ctx, key)
			must(t, err)
			if err := red.ForceReleaseNow(ctx, seen); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

func TestLimit_ForceReleaseNowGoesOnAfterASlotThatFewNodesHave(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		l := &limited{n: 2}
		// what an attempt that splits the votes has for a moment, on one node
		h := hold(t, red, 2)
		other := 1 - h.Slot()
		reply, err := r.Clients[0].Eval(ctx, drawSource+limitSource+limitAcquireSource, limitNames("lock:k"),
			"0123456789abcdef0123/x/h:1", 30000, 2, time.Now().UnixMicro(), "Z/s", scriptRetention, scriptMaxTTL, l.marker(), 2, other, "a", 2, 0, "").Result()
		must(t, err)
		t.Log(reply, h.Slot())
		seen, err := red.Inspect(ctx, "k")
		must(t, err)
		t.Logf("%+v", seen.Slots)
		err = red.ForceReleaseNow(ctx, seen)
		t.Log(err)
		if err2 := h.ExtendNow(ctx, lasting); !errors.Is(err2, ErrLost) {
			t.Errorf("slot %d was not released: %v (force: %v)", h.Slot(), err2, err)
		}
	})
}

// Two holders of Limit(2) have a quorum each, on other nodes. A third is granted
// something on two nodes, and is told when a slot may come free.
func TestLimit_ARefusalBesideHoldersOnPartOfTheNodesSaysWhenASlotIsFree(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, ctx := r.redlock(nil, Config{Owner: "me"}), t.Context()
		l := &limited{n: 2}
		for _, g := range []struct{ node, slot int }{{0, 0}, {1, 0}, {1, 1}, {2, 1}} {
			_, err := r.Clients[g.node].Eval(ctx, drawSource+limitSource+limitAcquireSource, limitNames("lock:k"),
				[]string{"A/1/h:1", "B/1/h:1"}[g.slot], 3000, 2, time.Now().UnixMicro(), "Z/s", scriptRetention, scriptMaxTTL, l.marker(), 2, g.slot, []string{"a", "b"}[g.slot], 2, 0, "").Result()
			must(t, err)
		}
		harness.Eventually(t, "listening", func() bool {
			for _, n := range red.c.Nodes() {
				if !n.Listening() {
					return false
				}
			}
			return true
		})
		_, err := red.Acquire(ctx, "k", Request{Limit: 2, Queue: true})
		held := as[*NotAcquiredError](t, err)
		t.Log(held, held.Split, held.FreeIn)
		for i := range 3 {
			t.Log(i, r.Clients[i].ZRange(ctx, Companion("lock:k", "queue"), 0, -1).Val())
		}
		if held.FreeIn < 0 && !held.Split {
			t.Errorf("all slots are held, and nobody knows until when: a crashed holder's slot is not looked for when it expires")
		}
	})
}
