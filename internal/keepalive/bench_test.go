//go:build unix

package keepalive

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// How many leases, and for how long they are held. Set by REDLOCK_BENCH_LEASES and REDLOCK_BENCH_HOLD.
func benchSize(b *testing.B) (leases int, hold time.Duration) {
	leases, hold = 100_000, 60*time.Second
	if s := os.Getenv("REDLOCK_BENCH_LEASES"); s != "" {
		leases, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("REDLOCK_BENCH_HOLD"); s != "" {
		hold, _ = time.ParseDuration(s)
	}
	if leases < 1 || hold <= 0 {
		b.Fatal("REDLOCK_BENCH_LEASES or REDLOCK_BENCH_HOLD is not usable")
	}
	return leases, hold
}

const benchTTL = 30 * time.Second

// BenchmarkRenewal_HoldManyLeases keeps very many leases of 30 s TTL alive on five real nodes, and the same with one goroutine and ticker
// for each over redsync. Run it with -benchtime 1x.
func BenchmarkRenewal_HoldManyLeases(b *testing.B) {
	hold := func(b *testing.B, acquire func(s *Leases, key string) (*Lease, error)) {
		s := harness.Real(b, 5, redisserver.Options{})
		c, err := nodeset.Open(b.Context(), nodeset.Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close(context.Background())
		leases, err := New(c, Config{TTL: benchTTL})
		if err != nil {
			b.Fatal(err)
		}
		defer leases.Close(context.Background())
		n, d := benchSize(b)
		held := make([]*Lease, n)
		measure(b, s, n, d, func(i int) error {
			var err error
			held[i], err = acquire(leases, fmt.Sprintf("job:%d", i))
			return err
		}, func() (lost int) {
			for _, l := range held {
				if l == nil || l.Err() != nil {
					lost++
				}
			}
			return lost
		})
		runtime.KeepAlive(held)
	}
	b.Run("redlock", func(b *testing.B) {
		hold(b, func(s *Leases, key string) (*Lease, error) { return s.Try(b.Context(), key, Request{}) })
	})
	b.Run("redlock with checkpoints and Done", func(b *testing.B) {
		hold(b, func(s *Leases, key string) (*Lease, error) {
			l, err := s.TryAcquire(b.Context(), key)
			if err == nil {
				l.Done()
			}
			return l, err
		})
	})
	b.Run("redsync with a goroutine each", func(b *testing.B) {
		s := harness.Real(b, 5, redisserver.Options{})
		var pools []redsyncredis.Pool
		for _, url := range s.URLs() {
			o, err := redis.ParseURL(url)
			if err != nil {
				b.Fatal(err)
			}
			o.PoolSize = 50
			o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
			client := redis.NewClient(o)
			defer client.Close()
			pools = append(pools, goredis.NewPool(client))
		}
		rs := redsync.New(pools...)
		n, hold := benchSize(b)
		var lost atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		measure(b, s, n, hold, func(i int) error {
			m := rs.NewMutex(fmt.Sprintf("lock:job:%d", i), redsync.WithExpiry(benchTTL))
			if err := m.Lock(); err != nil {
				return err
			}
			wg.Go(func() {
				tick := time.NewTicker(benchTTL / 3)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						if ok, _ := m.Extend(); !ok && time.Now().After(m.Until()) {
							lost.Add(1)
							return
						}
					case <-stop:
						return
					}
				}
			})
			return nil
		}, func() int { return int(lost.Load()) })
		close(stop)
		wg.Wait()
	})
}

// measure acquires n leases, holds them, and reports what each costs.
func measure(b *testing.B, s harness.Set, n int, hold time.Duration, acquire func(i int) error, lost func() int) {
	heap, goroutines := heapInUse(), runtime.NumGoroutine()
	began := time.Now()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 256 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := acquire(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "acquires/s")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
	cpu, calls, reads := cpuTime(), s.Commands(0)["evalsha"], readsOf(b, s)
	<-time.After(hold)
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(s.Commands(0)["evalsha"]-calls), "cpu-µs/renewal")
	b.ReportMetric(float64(s.Commands(0)["evalsha"]-calls)/float64(readsOf(b, s)-reads), "renewals/read")
	b.ReportMetric(100*(cpuTime()-cpu).Seconds()/hold.Seconds(), "cpu-%")
	b.ReportMetric(float64(heapInUse()-heap)/float64(n), "heap-B/lease") // when all nodes have answered
	b.ReportMetric(float64(lost()), "lost")
	b.ReportMetric(0, "ns/op")
}

// readsOf is how often a node has read from its connections.
func readsOf(b *testing.B, s harness.Set) int64 {
	info, err := harness.Client(b, s, 0).Info(b.Context(), "stats").Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "total_reads_processed:")
	number, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
