package quorumlock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// Each script in each state, as a user who lacks the right to one command. A
// process listens wherever somebody is to be woken.
func TestScripts_DoNothingIfACommandIsRefused(t *testing.T) {
	keys := namesOf("lock:k")
	lock, fence, queue, next := keys[0], keys[1], keys[2], keys[3]
	set := func(key, value string) func(p redis.Pipeliner) {
		return func(p redis.Pipeliner) { p.Set(t.Context(), key, value, time.Minute) }
	}
	queued := func(score float64, process string) func(p redis.Pipeliner) {
		return func(p redis.Pipeliner) {
			p.ZAdd(t.Context(), queue, redis.Z{Score: score, Member: process})
			p.PExpire(t.Context(), queue, time.Minute)
		}
	}
	type state []func(p redis.Pipeliner)
	acquire := []any{"P/1/me", scriptTTL, 1, time.Now().UnixMicro(), "P", scriptRetention, scriptMaxTTL, 0, "1"}
	const reserve = scriptReserve
	for name, s := range map[string]struct {
		source string
		args   []any
		state  state
		may    []string
	}{
		"acquire a free key":    {drawSource + acquireSource, acquire, nil, []string{fence}},
		"acquire in turn":       {drawSource + acquireSource, acquire, state{queued(100.5, "P"), set(next, "P")}, []string{fence, queue}},
		"acquire and queue":     {drawSource + acquireSource, acquire, state{set(lock, "Q/1/")}, nil},
		"acquire and stay":      {drawSource + acquireSource, acquire, state{set(lock, "Q/1/"), queued(100.5, "P")}, nil},
		"acquire out of turn":   {drawSource + acquireSource, acquire, state{set(next, "Q"), queued(100.25, "Q")}, nil},
		"acquire again":         {drawSource + acquireSource, acquire, state{set(lock, "P/1/me"), set(fence, "7")}, nil},
		"detach":                {drawSource + detachSource, []any{"P/1/me", scriptTTL, "P/~1/me", 5, 9, scriptRetention, scriptMaxTTL, 0}, state{set(lock, "P/1/me"), set(fence, "7")}, []string{fence}},
		"attach":                {drawSource + attachSource, []any{"Q/1/", scriptTTL, 1, 5, "P/~1/me", scriptRetention, scriptMaxTTL, 0}, state{set(lock, "P/~1/me"), set(fence, "7")}, []string{fence}},
		"attach what is held":   {drawSource + attachSource, []any{"Q/1/", scriptTTL, 1, 5, "P/~1/me", scriptRetention, scriptMaxTTL, 0}, state{set(lock, "R/1/")}, nil},
		"attach, counter lost":  {drawSource + attachSource, []any{"Q/1/", scriptTTL, 1, 5, "P/~1/me", scriptRetention, scriptMaxTTL, 0}, state{set(lock, "P/~1/me")}, []string{fence}},
		"extend":                {extendSource, []any{"P/1/me", scriptTTL}, state{set(lock, "P/1/me")}, nil},
		"extend what is gone":   {extendSource, []any{"P/1/me", scriptTTL}, nil, nil},
		"raise":                 {bumpFenceSource, []any{"P/1/me", 9, scriptRetention, 7, 1}, state{set(lock, "P/1/me"), set(fence, "7")}, nil},
		"release":               {wakeSource + releaseSource, []any{"P/1/me", reserve, ""}, state{set(lock, "P/1/me")}, nil},
		"release with a waiter": {wakeSource + releaseSource, []any{"P/1/me", reserve, ""}, state{set(lock, "P/1/me"), queued(100, "L")}, []string{queue, next}},
		"leave":                 {wakeSource + leaveSource, []any{"P", reserve, "", ""}, state{queued(100, "P"), queued(101, "L")}, []string{queue}},
		"leave for the end":     {wakeSource + leaveSource, []any{"P", reserve, "1", ""}, state{queued(100, "P"), queued(101, "L"), set(next, "P")}, []string{queue, next}},
		"return":                {returnSource, []any{"P/1/me", "P/~1/me", 100}, state{set(lock, "P/1/me")}, nil},
		"seize":                 {readersSource + seizeSource, []any{"P/1/me", "F/1/", 100, 0}, state{set(lock, "P/1/me")}, nil},
		"seize what is gone":    {readersSource + seizeSource, []any{"P/1/me", "F/1/", 100, 100}, nil, nil},
		"repair":                {repairSource, []any{8, 7, scriptRetention}, state{set(fence, "9")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Refused(t, harness.Script{
				Source: s.source, Keys: keys[:], Args: s.args, May: s.may,
				Before: func(ctx context.Context, admin *redis.Client) error {
					listening := admin.Subscribe(ctx, nodeset.Channel("L"))
					t.Cleanup(func() { listening.Close() })
					_, err := listening.Receive(ctx)
					p := admin.TxPipeline()
					for _, step := range s.state {
						step(p)
					}
					_, failed := p.Exec(ctx)
					return errors.Join(err, failed)
				},
			})
		})
	}
}

// A server without memory refuses the first write of a script if it may add
// something, and no later one.
func TestScripts_Release_SucceedsWithoutFreeMemory(t *testing.T) {
	t.Parallel()
	b := &bench{newRig(t, harness.Real(t, 1, redisserver.Options{})), namesOf("lock:k")}
	heard := b.awaited("Q")
	must(t, b.Clients[0].ConfigSet(t.Context(), "maxmemory", "1").Err())
	if reply := b.release("P/1/me"); reply != int64(1) {
		t.Errorf("release = %v, want 1", reply)
	}
	if got := harness.Receive(t, "a wake", heard); got != "Q wlock:k" || b.Get(0, b.keys[3]) != "Q" {
		t.Errorf("heard %q, the key is kept for %q", got, b.Get(0, b.keys[3]))
	}
}
