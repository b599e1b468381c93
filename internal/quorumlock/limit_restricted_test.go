package quorumlock

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// restricted is put before a script, on nodes of each kind, to have what refuses
// say which commands are refused.
func restricted(refuses string) string {
	return `
local wrote = false
local redis = setmetatable({
  call = function(name, ...)
    ` + refuses + `
    wrote = wrote or string.find(' SET HSET ZADD DEL HDEL ZREM PEXPIRE ', ' ' .. name .. ' ', 1, true) ~= nil
    return redis.call(name, ...)
  end,
}, {__index = redis})
`
}

// A server without memory refuses the first write of a script if it may add
// something, and no later one.
func TestScripts_Slot_AFullServerKeepsWhatIsHeldAndGrantsNothing(t *testing.T) {
	full := restricted(`if not wrote and (name == 'SET' or name == 'HSET' or name == 'ZADD') then error('OOM') end`)
	onOneNode(t, func(t *testing.T, b *bench) {
		full := full
		if b.Clients[0].ConfigSet(t.Context(), "maxmemory", "0").Err() == nil {
			full = "" // it can be one
		}
		heard := b.hear("P", "W")
		slot, _ := b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2, start: 1})
		b.refuseSlot(slotAsk{value: "W/1/", process: "W", limit: 2, queue: true})
		harness.Receive(t, "the announcement", heard)
		if full == "" {
			must(t, b.Clients[0].ConfigSet(t.Context(), "maxmemory", "1").Err())
		}
		reply := b.slots(full+limitSource+limitExtendSource, "P/1/", 60_000, slot, "limit:2", 2, "aa").([]any)
		if reply[0] != int64(1) || b.pttl("lock:k") <= scriptTTL*time.Millisecond {
			t.Errorf("renewed: %v", reply)
		}
		fence := b.fence()
		words, err := b.slotReply(slotAsk{value: "P/2/", process: "P", limit: 2})
		if err != nil || words[0] != int64(1) {
			t.Errorf("delivered again: %v, %v", words, err)
		}
		if reply := b.slots(full+slotReleaseSource, "P/2/", "limit:2", "", scriptReserve, scriptMaxTTL, "", ""); reply != int64(1) {
			t.Errorf("released: %v", reply)
		}
		if got := harness.Receive(t, "a wake", heard); got != "W s1:lock:k" {
			t.Errorf("heard %q", got)
		}
		words, err = b.slotReply(slotAsk{prelude: full, value: "W/2/", process: "W", limit: 2})
		if err == nil || !strings.Contains(err.Error(), "OOM") || b.fence() != fence || !slices.Equal(b.taken(), []string{"0"}) {
			t.Errorf("a full server grants %v, %v", words, err)
		}
	})
}

// What a user who lacks +hdel cannot forget is found again.
func TestScripts_Slot_WhatIsOverIsForgottenAltogether(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		slot, _ := b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 2})
		b.grantSlot(slotAsk{value: "P/2/", process: "P", limit: 2})
		over := redis.Z{Score: 1, Member: strconv.FormatInt(slot, 10)}
		must(t, b.Clients[0].ZAdd(t.Context(), Companion("lock:k", "until"), over).Err())
		denied := restricted(`if name == 'HDEL' then error('NOPERM') end`)
		if words, err := b.slotReply(slotAsk{prelude: denied, value: "Q/1/", process: "Q", limit: 2}); err == nil {
			t.Errorf("granted without the right: %v", words)
		}
		if again, _ := b.grantSlot(slotAsk{value: "Q/2/", process: "Q", limit: 2}); again != slot {
			t.Errorf("slot %d is granted, and %d was over", again, slot)
		}
	})
}

// A script that ends early, for a right that is lacking, has not shortened the TTL
// of others' slots.
func TestScripts_Slot_ARefusedCommandEndsNoOtherSlot(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grantSlot(slotAsk{value: "P/1/", process: "P", limit: 3})
		slots, denied := Companion("lock:k", "slots"), restricted(`if name == 'HSET' then error('NOPERM') end`)
		short := scriptTTL / 100
		if words, err := b.slotReply(slotAsk{prelude: denied, value: "Q/1/", process: "Q", limit: 3, ttl: short}); err == nil {
			t.Errorf("granted without the right: %v", words)
		}
		reply, err := b.Clients[0].Eval(t.Context(), denied+limitSource+limitExtendSource, limitNames("lock:k"), "Q/2/", short, 2, "limit:3", 3, "aa").Result()
		if err == nil {
			t.Errorf("healed without the right: %v", reply)
		}
		if left := b.pttl(slots); left < scriptTTL*time.Millisecond/2 {
			t.Errorf("the slots have %v left", left)
		}
	})
}
