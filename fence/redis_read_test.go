package fence_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/fence"
)

func TestRedis_ReadsOfReadersAndWritesOfNoOlderWriter(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		old, now := fence.WithToken(t.Context(), lockKey, 7), fence.WithToken(t.Context(), lockKey, 10)
		reader, beside := fence.WithReadToken(t.Context(), lockKey, 7), fence.WithReadToken(t.Context(), lockKey, 9)
		pass(t, r.Set(old, lockKey, state, "old", 0))
		_, err := r.HSet(old, lockKey, total, "net", 3)
		pass(t, err)
		for range 2 {
			if got, err := r.Get(reader, lockKey, state); got != "old" || err != nil {
				t.Errorf("Get: %q, %v", got, err)
			}
			if got, err := r.HGet(beside, lockKey, total, "net"); got != "3" || err != nil {
				t.Errorf("HGet: %q, %v", got, err)
			}
			got, err := r.EvalRead(reader, lockKey, "return {redis.call('EXISTS', KEYS[1], KEYS[2]), ARGV[1]}", []string{state, total}, "a")
			if words, _ := got.([]any); err != nil || len(words) != 2 || words[0] != any(int64(2)) || words[1] != any("a") {
				t.Errorf("EvalRead: %v, %v", got, err)
			}
		}
		before := dump(t, c)
		_, del := r.Del(old, lockKey, state)
		_, eval := r.Eval(old, lockKey, "return redis.call('DEL', KEYS[1])", []string{total})
		_, get := r.Get(old, lockKey, state) // of a writer that is late
		for name, err := range map[string]error{"Set": r.Set(old, lockKey, state, "late", 0), "Del": del, "Eval": eval, "Get": get,
			"CheckToken": r.CheckToken(t.Context(), lockKey, 7)} {
			t.Log(name)
			staleReader(t, err, lockKey, 7, 9)
		}
		if got := dump(t, c); got != before {
			t.Errorf("refused writes left\n%s\nwant\n%s", got, before)
		}
		pass(t, r.Set(now, lockKey, state, "now", 0))
		_, err = r.Get(beside, lockKey, state)
		stale(t, err, lockKey, 9, 10)
		_, err = r.EvalRead(beside, lockKey, "return 1", []string{state})
		stale(t, err, lockKey, 9, 10)
		stale(t, r.CheckReadToken(t.Context(), lockKey, 9), lockKey, 9, 10)
		if got, err := r.Get(now, lockKey, state); got != "now" || err != nil {
			t.Errorf("the writer reads %q, %v", got, err)
		}
		pass(t, r.Set(now, lockKey, state, "and writes on", 0))
	})
}

func TestRedis_WritesRefuseASharedLock(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		reader := fence.WithReadToken(t.Context(), lockKey, 7)
		_, hset := r.HSet(reader, lockKey, total, "net", 3)
		_, del := r.Del(reader, lockKey, state)
		_, eval := r.Eval(reader, lockKey, "return 1", []string{state})
		for _, err := range []error{r.Set(reader, lockKey, state, "any", 0), hset, del, eval} {
			refusesToWrite(t, err)
		}
		if n := c.Exists(t.Context(), state, total, "fence:{order:42}:order:42").Val(); n != 0 {
			t.Errorf("%d keys are written", n)
		}
	})
}

func TestRedis_ReadsOfWhatIsNotThere(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		reader := fence.WithReadToken(t.Context(), lockKey, 7)
		_, get := r.Get(reader, lockKey, state)
		_, hget := r.HGet(reader, lockKey, total, "net")
		for _, err := range []error{get, hget} {
			if !errors.Is(err, redis.Nil) {
				t.Errorf("%v, want redis.Nil", err)
			}
		}
		if _, err := r.Get(reader, lockKey, ""); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("no key: %v", err)
		}
		if _, err := r.Get(t.Context(), lockKey, state); !errors.Is(err, fence.ErrNoToken) {
			t.Errorf("under no lock: %v", err)
		}
	})
}

// A guard of the version before has one number, that of writers.
func TestRedis_ReadsGuardsOfTheVersionBefore(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		const guard = "fence:{order:42}:order:42"
		r.GuardTTL = time.Hour
		pass(t, c.HSet(t.Context(), guard, "newest", 7).Err())
		stale(t, r.CheckReadToken(t.Context(), lockKey, 6), lockKey, 6, 7)
		pass(t, r.CheckReadToken(t.Context(), lockKey, 7))
		if got := c.HGet(t.Context(), guard, "newest").Val(); got != "7" {
			t.Errorf("a reader changed the writer's token to %s", got)
		}
		if got := c.PTTL(t.Context(), guard).Val(); got <= 0 {
			t.Errorf("a read keeps the guard for %v", got)
		}
		pass(t, c.HSet(t.Context(), guard, "read", "x").Err())
		if err := r.CheckToken(t.Context(), lockKey, 9); err == nil || errors.Is(err, fence.ErrStale) {
			t.Errorf("a guard that is none: %v", err)
		}
	})
}
