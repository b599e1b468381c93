package fence_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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
			"Eval": func(ctx context.Context) error {
				_, err := r.Eval(ctx, lockKey, "return 1", []string{state})
				return err
			},
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

// BenchmarkRedis is a SET on a real server, fenced and bare.
func BenchmarkRedis(b *testing.B) {
	nodes := harness.Real(b, 1, redisserver.Options{})
	c := harness.Client(b, nodes, 0)
	r, n := fence.Redis{Client: c}, int64(100) // a holder writes a hundred times
	harness.Ratio(b, func() error {
		return c.Set(b.Context(), state, "packed", 0).Err()
	}, func() error {
		n++
		return r.Set(fence.WithToken(b.Context(), lockKey, n/100), lockKey, state, "packed", 0)
	})
}

// BenchmarkFile is a job that replaces a file so that it outlasts a power
// failure, with the check of a new token and of an equal one, and without.
func BenchmarkFile(b *testing.B) {
	dir, report := b.TempDir(), strings.Repeat("a line of a report\n", 500)
	replace := func() error {
		f, err := os.Create(dir + "/new")
		if err != nil {
			return err
		}
		_, err = f.WriteString(report)
		if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(dir+"/new", dir+"/report")); err != nil {
			return err
		}
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	}
	for name, step := range map[string]int64{"new token": 1, "equal token": 0} {
		b.Run(name, func(b *testing.B) {
			f, n := fence.File{Path: filepath.Join(b.TempDir(), "fence")}, int64(1)
			harness.Ratio(b, replace, func() error {
				n += step
				return errors.Join(f.CheckToken(b.Context(), "report", n), replace())
			})
		})
	}
}

// BenchmarkHandler is a request to a server on this machine that answers at
// once, with the check in memory and without.
func BenchmarkHandler(b *testing.B) {
	serve := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	send := func(ctx context.Context, h http.Handler) func() error {
		server := httptest.NewServer(h)
		b.Cleanup(server.Close)
		client := &http.Client{Transport: fence.RoundTripper{Base: server.Client().Transport}}
		return func() error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
	}
	held := fence.WithToken(b.Context(), lockKey, 7)
	harness.Ratio(b, send(b.Context(), serve), send(held, fence.Handler(new(fence.Memory), serve)))
}
