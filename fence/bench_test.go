package fence_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// sent counts the commands of a client, each of which is a round trip.
type sent struct{ n atomic.Int64 }

func (s *sent) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.n.Add(1)
		return next(ctx, cmd)
	}
}

func (s *sent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.n.Add(1)
		return next(ctx, cmds)
	}
}

func TestRedis_AWriteIsOneRoundTrip(t *testing.T) {
	onRedis(t, func(t *testing.T, r fence.Redis, c *redis.Client) {
		old, now := fence.WithToken(t.Context(), lockKey, 7), fence.WithToken(t.Context(), lockKey, 9)
		var trips sent
		c.AddHook(&trips)
		for what, write := range map[string]func(ctx context.Context) error{
			"Set":  func(ctx context.Context) error { return r.Set(ctx, lockKey, state, "any", 0) },
			"HSet": func(ctx context.Context) error { _, err := r.HSet(ctx, lockKey, total, "net", 3); return err },
			"Del":  func(ctx context.Context) error { _, err := r.Del(ctx, lockKey, state); return err },
			"Eval": func(ctx context.Context) error { _, err := r.Eval(ctx, lockKey, "return 1", []string{state}); return err },
		} {
			pass(t, write(now)) // the server learns the script
			before := trips.n.Load()
			pass(t, write(now))
			stale(t, write(old), lockKey, 7, 9)
			if n := trips.n.Load() - before; n != 2 {
				t.Errorf("%s: two writes took %d round trips", what, n)
			}
		}
	})
}

// BenchmarkRedis is a write to a real server, bare and fenced, by one goroutine
// and by many, each under a lock of its own.
func BenchmarkRedis(b *testing.B) {
	nodes := harness.Real(b, 1, redisserver.Options{})
	c := harness.Client(b, nodes, 0)
	r := fence.Redis{Client: c}
	var locks atomic.Int64
	for _, bb := range []struct {
		name  string
		write func(ctx context.Context, lock string, token int64) error
	}{
		{"bare", func(ctx context.Context, lock string, _ int64) error {
			return c.Set(ctx, "{"+lock+"}:state", "packed", 0).Err()
		}},
		{"fenced", func(ctx context.Context, lock string, token int64) error {
			return r.Set(fence.WithToken(ctx, lock, token), lock, "{"+lock+"}:state", "packed", 0)
		}},
	} {
		work := func(b *testing.B, more func() bool) {
			lock := fmt.Sprintf("order:%d", locks.Add(1))
			for n := int64(100); more(); n++ { // a holder writes a hundred times
				if err := bb.write(b.Context(), lock, n/100); err != nil {
					b.Error(err)
					return
				}
			}
		}
		b.Run("alone/"+bb.name, func(b *testing.B) { work(b, b.Loop) })
		b.Run("many/"+bb.name, func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) { work(b, pb.Next) })
		})
	}
}
