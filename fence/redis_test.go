package fence_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

const (
	lockKey = "order:42"
	state   = "{order:42}:state"
	total   = "{order:42}:total"
)

// onRedis runs fn with a client of a Redis of each kind.
func onRedis(t *testing.T, fn func(t *testing.T, r fence.Redis, c *redis.Client)) {
	harness.Beside(t, 1, func(t *testing.T, nodes harness.Set) {
		c := harness.Client(t, nodes, 0)
		fn(t, fence.Redis{Client: c}, c)
	})
}

func TestRedis_WritesOfTheNewestHolderAndOfNoOlder(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		old, now := fence.WithToken(t.Context(), lockKey, 7), fence.WithToken(t.Context(), lockKey, 9)
		pass(t, r.Set(old, lockKey, state, "old", 0))
		n, err := r.HSet(now, lockKey, total, "net", 3, "gross", 4)
		if n != 2 || err != nil {
			t.Errorf("HSet: %d, %v, want 2 new fields", n, err)
		}
		before := dump(t, c)
		_, hset := r.HSet(old, lockKey, total, "net", 1)
		_, del := r.Del(old, lockKey, state, total)
		_, eval := r.Eval(old, lockKey, "return redis.call('DEL', KEYS[1])", []string{total})
		for name, err := range map[string]error{"Set": r.Set(old, lockKey, state, "late", 0), "HSet": hset, "Del": del, "Eval": eval,
			"CheckToken": r.CheckToken(t.Context(), lockKey, 7)} {
			t.Log(name)
			stale(t, err, lockKey, 7, 9)
		}
		if got := dump(t, c); got != before {
			t.Errorf("refused writes left\n%s\nwant\n%s", got, before)
		}
		pass(t, r.Set(now, lockKey, state, "now", 0))
		if n, err := r.Del(now, lockKey, state, total, "{order:42}:none"); n != 2 || err != nil {
			t.Errorf("Del: %d, %v, want 2", n, err)
		}
	})
}

// dump is all there is on a Redis.
func dump(t *testing.T, c *redis.Client) string {
	t.Helper()
	var b strings.Builder
	for _, key := range []string{state, total, "fence:{order:42}:order:42"} {
		value := c.Get(t.Context(), key).Val()
		fmt.Fprintln(&b, key, value, c.HGetAll(t.Context(), key).Val(), c.TTL(t.Context(), key).Val() > 0)
	}
	fmt.Fprintln(&b, c.DBSize(t.Context()).Val())
	return b.String()
}

func TestRedis_Set_KeepsGivesAndTakesTTLs(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		ctx := fence.WithToken(t.Context(), lockKey, 7)
		for _, tt := range []struct {
			ttl     time.Duration
			expires bool
		}{{time.Hour, true}, {redis.KeepTTL, true}, {0, false}, {redis.KeepTTL, false}} {
			pass(t, r.Set(ctx, lockKey, state, "any", tt.ttl))
			if got := c.PTTL(t.Context(), state).Val() > 0; got != tt.expires {
				t.Errorf("ttl %v: it expires: %t", tt.ttl, got)
			}
		}
		for _, ttl := range []time.Duration{-2, time.Microsecond, -time.Second} {
			if err := r.Set(ctx, lockKey, state, "bad", ttl); err == nil || !strings.Contains(err.Error(), "at least 1ms") {
				t.Errorf("ttl %v: %v", ttl, err)
			}
		}
	})
}

func TestRedis_Eval_RunsTheScriptAsIfThereWereNoGuard(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		ctx := fence.WithToken(t.Context(), lockKey, 7)
		got, err := r.Eval(ctx, lockKey, "-- keys and arguments\nreturn {#KEYS, KEYS[1], KEYS[2], #ARGV, ARGV[1], ARGV[2]} -- no more", []string{state, total}, "a", 2)
		if want := fmt.Sprint([]any{2, state, total, 2, "a", "2"}); err != nil || fmt.Sprint(got) != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		for script, want := range map[string]string{"return 5": "5", "return 'text'": "text", "return redis.call('SET', KEYS[1], '1')": "OK", "return {}": "[]"} {
			if got, err := r.Eval(ctx, lockKey, script, []string{state}); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s: %v, %v, want %s", script, got, err, want)
			}
		}
		for _, script := range []string{"return nil", "return false", "", "local x = 1"} {
			if got, err := r.Eval(ctx, lockKey, script, []string{state}); got != nil || !errors.Is(err, redis.Nil) {
				t.Errorf("%q: %v, %v, want redis.Nil", script, got, err)
			}
		}
		for script, want := range map[string]string{"return redis.error_reply('ERR mine')": "mine", "return redis.call('HLEN', KEYS[1])": "WRONGTYPE",
			"#!lua\nreturn 1": "remove that line", "this is no Lua": "ompil"} {
			if got, err := r.Eval(ctx, lockKey, script, []string{state}); got != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, %v, want an error with %q", script, got, err, want)
			}
		}
	})
}

// Every key's own guard is asked: those of keys without a common hash tag
// differ.
func TestRedis_EveryKeyOfAWriteIsFenced(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		old, now := fence.WithToken(t.Context(), lockKey, 7), fence.WithToken(t.Context(), lockKey, 9)
		pass(t, r.Set(old, lockKey, "one", "old", 0))
		pass(t, r.Set(now, lockKey, "two", "now", 0))
		_, del := r.Del(old, lockKey, "one", "two")
		stale(t, del, lockKey, 7, 9)
		_, eval := r.Eval(old, lockKey, "return redis.call('DEL', KEYS[1])", []string{"one", "two"})
		stale(t, eval, lockKey, 7, 9)
		if n := c.Exists(t.Context(), "one", "two").Val(); n != 2 {
			t.Errorf("%d keys are left, want 2", n)
		}
	})
}

// A guard that refuses a write leaves the other guards of that write, and their
// TTLs, as they are.
func TestRedis_ARefusedWriteChangesNoGuard(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		r.GuardTTL = time.Hour
		pass(t, r.Set(fence.WithToken(t.Context(), lockKey, 5), lockKey, "one", "any", 0))
		pass(t, r.Set(fence.WithToken(t.Context(), lockKey, 9), lockKey, "two", "any", 0))
		const guard = "fence:{one}:order:42"
		pass(t, c.PExpire(t.Context(), guard, time.Minute).Err())
		_, err := r.Del(fence.WithToken(t.Context(), lockKey, 7), lockKey, "one", "two")
		stale(t, err, lockKey, 7, 9)
		if got := c.HGet(t.Context(), guard, "newest").Val(); got != "5" {
			t.Errorf("the guard of the other key has token %s, want 5", got)
		}
		if got := c.PTTL(t.Context(), guard).Val(); got > time.Minute {
			t.Errorf("it is kept for %v", got)
		}
	})
}

// The documentation says what a guard that never expires costs.
func TestRedis_MemoryOfAGuard(t *testing.T) {
	nodes := harness.Real(t, 1, redisserver.Options{})
	c := harness.Client(t, nodes, 0)
	r := fence.Redis{Client: c}
	used := func() int64 {
		text, err := c.Info(t.Context(), "memory").Result()
		pass(t, err)
		_, after, _ := strings.Cut(text, "used_memory:")
		n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]), 10, 64)
		pass(t, err)
		return n
	}
	const guards = 1 << 14
	keys := func(from, to int) {
		for i := from; i < to; i++ {
			pass(t, r.CheckToken(t.Context(), fmt.Sprintf("order:%08d", i), fence.MaxToken-1))
		}
	}
	keys(0, guards)
	before := used()
	keys(guards, 2*guards)
	each := (used() - before) / guards
	t.Logf("%d bytes for each guard of a key of 14 bytes", each)
	if each < 100 || each > 200 {
		t.Errorf("%d bytes for each guard; the documentation says about 150", each)
	}
}

func TestRedis_LocksOfOneKeyHaveGuardsOfTheirOwn(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		for i, lock := range oddKeys() {
			pass(t, r.Set(fence.WithToken(t.Context(), lock, int64(1000-i)), lock, "a", "any", 0))
			pass(t, r.Set(fence.WithToken(t.Context(), lock, int64(1000-i)), lock, "a}:c", "any", 0))
		}
		// These would be one name, if the lock's key stood in it as it is.
		pass(t, r.Set(fence.WithToken(t.Context(), "x", 9), "x", "b}:c", "any", 0))
		pass(t, r.Set(fence.WithToken(t.Context(), "c}:x", 7), "c}:x", "b", "any", 0))
	})
}

func TestRedis_HSet_WritesManyFields(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		ctx := fence.WithToken(t.Context(), lockKey, 7)
		var pairs []any
		for i := range 5001 {
			pairs = append(pairs, i, i)
		}
		if n, err := r.HSet(ctx, lockKey, total, pairs...); n != 5001 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if got := c.HLen(t.Context(), total).Val(); got != 5001 {
			t.Errorf("it has %d fields", got)
		}
		for _, pairs := range [][]any{nil, {"a"}, {"a", 1, "b"}} {
			if _, err := r.HSet(ctx, lockKey, total, pairs...); err == nil || !strings.Contains(err.Error(), "a value for each field") {
				t.Errorf("HSet %v: %v", pairs, err)
			}
		}
		pass(t, r.Set(ctx, lockKey, state, "no hash", 0))
		newer := fence.WithToken(t.Context(), lockKey, 9)
		if _, err := r.HSet(newer, lockKey, state, "a", 1); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("HSet of a string: %v", err)
		}
		pass(t, r.CheckToken(t.Context(), lockKey, 7)) // so the guard was not raised
	})
}

func TestRedis_GuardTTL_IsKeptFromTheLastWriteOn(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		const guard = "mine:{order:42}:order:42"
		r.Prefix, r.GuardTTL = "mine:", time.Hour
		ttl := func() time.Duration { return c.PTTL(t.Context(), guard).Val() }
		ctx := fence.WithToken(t.Context(), lockKey, 7)
		pass(t, r.Set(ctx, lockKey, state, "any", 0))
		if got := ttl(); got <= 59*time.Minute || got > time.Hour {
			t.Errorf("a new guard is kept for %v", got)
		}
		pass(t, c.PExpire(t.Context(), guard, time.Minute).Err())
		pass(t, r.Set(ctx, lockKey, state, "any", 0))
		if got := ttl(); got <= 59*time.Minute {
			t.Errorf("after a write it is kept for %v", got)
		}
		pass(t, c.PExpire(t.Context(), guard, time.Minute).Err())
		stale(t, r.CheckToken(t.Context(), lockKey, 6), lockKey, 6, 7)
		if got := ttl(); got > time.Minute {
			t.Errorf("after a refusal it is kept for %v", got)
		}
		r.GuardTTL = 0
		pass(t, r.Set(ctx, lockKey, state, "any", 0))
		if got := ttl(); got != -1 {
			t.Errorf("without a GuardTTL it is kept for %v", got)
		}
	})
}

func TestRedis_BadInputIsNamedBeforeAnythingIsSent(t *testing.T) {
	ctx := fence.WithToken(t.Context(), lockKey, 7)
	unused := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = unused.Close() })
	_, noKeys := fence.Redis{Client: unused}.Eval(ctx, lockKey, "return 1", nil)
	_, emptyKey := fence.Redis{Client: unused}.Del(ctx, lockKey, "a", "")
	for want, err := range map[string]error{
		"Client is nil":                  fence.Redis{}.Set(ctx, lockKey, state, 1, 0),
		`Prefix "f{"`:                    fence.Redis{Client: unused, Prefix: "f{"}.Set(ctx, lockKey, state, 1, 0),
		"GuardTTL -1s":                   fence.Redis{Client: unused, GuardTTL: -time.Second}.Set(ctx, lockKey, state, 1, 0),
		"give the keys":                  noKeys,
		"is empty or missing":            emptyKey,
		"the context is under no lock":   fence.Redis{Client: unused}.Set(t.Context(), lockKey, state, 1, 0),
		"a token is above 0":             fence.Redis{Client: unused}.Set(fence.WithToken(ctx, lockKey, -3), lockKey, state, 1, 0),
		"Redis.Client is nil; give a cl": fence.Redis{}.Forget(ctx, lockKey),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestRedis_WhatIsNoGuardIsLeftAlone(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		const guard = "fence:{order:42}:order:42"
		ctx := fence.WithToken(t.Context(), lockKey, 7)
		pass(t, c.Set(t.Context(), guard, "a string", 0).Err())
		if err := r.Set(ctx, lockKey, state, "any", 0); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("a string for a guard: %v", err)
		}
		pass(t, c.Del(t.Context(), guard).Err())
		pass(t, c.HSet(t.Context(), guard, "newest", "1e3").Err())
		if err := r.Set(ctx, lockKey, state, "any", 0); err == nil || !strings.Contains(err.Error(), "is not a guard") {
			t.Errorf("no number in a guard: %v", err)
		}
		if c.Exists(t.Context(), state).Val() != 0 {
			t.Error("the data was written")
		}
		pass(t, r.Forget(t.Context(), lockKey))
		pass(t, r.Set(ctx, lockKey, state, "any", 0))
	})
}

// 64 writers with tokens in any order: what stays is the newest's.
func TestRedis_ConcurrentWritersLeaveTheNewest(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		var wg sync.WaitGroup
		for _, n := range rand.Perm(64) {
			wg.Go(func() {
				token := int64(n + 1)
				err := r.Set(fence.WithToken(t.Context(), lockKey, token), lockKey, state, token, 0)
				if err != nil && !errors.Is(err, fence.ErrStale) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := c.Get(t.Context(), state).Val(); got != "64" {
			t.Errorf("it holds %s, want 64", got)
		}
	})
}

// In a Redis Cluster a guard is where its data is.
func TestRedis_InARedisCluster(t *testing.T) {
	t.Parallel()
	harness.Real(t, 1, redisserver.Options{}) // or it is skipped
	s, err := redisserver.StartSharded(3, redisserver.Options{})
	pass(t, err)
	t.Cleanup(s.Close)
	o, err := redis.ParseClusterURL(s.URL())
	pass(t, err)
	c := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	r := fence.Redis{Client: c}
	old, now := fence.WithToken(t.Context(), lockKey, 7), fence.WithToken(t.Context(), lockKey, 9)
	for i := range 30 {
		for _, form := range []string{"plain:%d", "{tag:%d}:state", "with { %d", "{}{empty}:%d"} {
			key := fmt.Sprintf(form, i)
			if strings.HasPrefix(form, "{}") {
				if err := r.Set(now, lockKey, key, "now", 0); err == nil || !strings.Contains(err.Error(), "slot") {
					t.Errorf("%s: %v, want an error about slots", key, err)
				}
				continue
			}
			pass(t, r.Set(now, lockKey, key, "now", 0))
			stale(t, r.Set(old, lockKey, key, "old", 0), lockKey, 7, 9)
			pass(t, r.Forget(t.Context(), lockKey, key))
			pass(t, r.Set(old, lockKey, key, "old", 0))
		}
	}
	_, err = r.Del(now, lockKey, state, total)
	pass(t, err)
	pass(t, r.CheckToken(t.Context(), lockKey, 9))
	stale(t, r.Set(old, lockKey, state, "old", 0), lockKey, 7, 9)
}
