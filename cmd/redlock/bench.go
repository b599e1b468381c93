package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

type benchCmd struct {
	lockFlags
	Duration time.Duration `default:"4s" placeholder:"D" help:"How long to measure each library, from 400ms to 10m. Default ${default}."`
	Workers  int           `short:"c" default:"16" placeholder:"N" help:"How many workers measure the throughput. Default ${default}."`
	Vs       string        `enum:"redsync,none" default:"none" placeholder:"LIBRARY" help:"Also measure this library, in turns with redlock: redsync."`
}

func (benchCmd) Help() string {
	return `Acquires and releases locks of its own on these nodes: in turns one at a time, which shows the latency, and many at ` +
		`once on different keys, which shows the throughput. What it leaves on the nodes expires within two minutes. It loads the nodes: ` +
		`consider what else they serve.

SERVERS is the CPU time of all nodes together for one lock and its release, as INFO counts it, and CLIENT that of this ` +
		`program. What else the nodes serve meanwhile is included. "-" where it is not known.

With --vs redsync it also measures redsync in its default configuration, with go-redis clients of its own, in turns of a few hundred ` +
		`milliseconds in the same run. Features that redsync lacks (fencing tokens, notified waiters) are not measured.

  redlock bench
  redlock bench --vs redsync --duration 10s -c 64

Exit codes: 0 success; 2 bad flags or nodes; 69 too few nodes answered.`
}

// benchTurns is how many times each library is measured, in turns, so that
// other load on the machine affects all equally.
const benchTurns = 4

func (r *benchCmd) Run() error {
	if r.Duration < 400*time.Millisecond || r.Duration > 10*time.Minute {
		return misused("--duration %v: from 400ms to 10m", r.Duration)
	}
	if r.Workers < 1 || r.Workers > 4096 {
		return misused("-c %d: from 1 to 4096 workers", r.Workers)
	}
	return r.open(r.Prefix, false, func(ctx context.Context, v *view) error {
		all := []*contestant{}
		ours, shut, err := r.redlock(v)
		if err != nil {
			return err
		}
		defer shut()
		all = append(all, ours)
		if r.Vs == "redsync" {
			theirs, shut, err := r.redsync()
			if err != nil {
				return err
			}
			defer shut()
			all = append(all, theirs)
		}
		if err := r.measure(ctx, all, newCPUMeter(ctx, v.c)); err != nil {
			return err
		}
		embeddedNodes := slices.ContainsFunc(v.c.Survey(ctx), func(n cluster.Report) bool { return n.Server == embeddedServer })
		if r.Output == "json" {
			return printJSON(r.describe(all, embeddedNodes))
		}
		r.print(stdout, all, len(v.c.Status()))
		if embeddedNodes {
			fmt.Fprintln(stdout, "\nThese are embedded nodes, as redlock dev starts them: the results say nothing about real servers.")
		}
		return nil
	})
}

// embeddedServer is the server that embedded nodes report.
const embeddedServer = "redlock-embedded"

// contestant is a library under measurement.
type contestant struct {
	name  string
	lock  func(ctx context.Context, key string) (unlock func(context.Context) error, err error)
	alone tally
	many  tally
}

// tally holds the measurements of one library at one number of workers.
type tally struct {
	mu       sync.Mutex
	acquire  []time.Duration
	release  []time.Duration
	failures int
	failure  error
	spent    time.Duration
	cpu      cpuTime
}

func (r *benchCmd) redlock(v *view) (*contestant, func(), error) {
	locker, err := lock.New(v.c, lock.Config{Prefix: r.Prefix, FenceRetention: 2 * maxTTL, Owner: "redlock bench"})
	if err != nil {
		return nil, nil, err
	}
	return &contestant{name: "redlock", lock: func(ctx context.Context, key string) (func(context.Context) error, error) {
		l, err := locker.TryLock(ctx, key)
		if err != nil {
			return nil, err
		}
		return l.Release, nil
	}}, func() { closeInTime(locker) }, nil
}

func (r *benchCmd) redsync() (*contestant, func(), error) {
	urls, err := r.urls()
	if err != nil {
		return nil, nil, err
	}
	var pools []redsyncredis.Pool
	var clients []*redis.Client
	shut := func() {
		for _, c := range clients {
			c.Close()
		}
	}
	for i, url := range urls {
		o, err := redis.ParseURL(url)
		if err != nil { // the text may contain the URL, and so a password
			shut()
			return nil, nil, misused("--vs redsync: node %d is not a single server; redsync is measured on redis://, rediss:// and unix:// only", i+1)
		}
		o.PoolSize = max(10, r.Workers)
		c := redis.NewClient(o)
		clients = append(clients, c)
		pools = append(pools, goredis.NewPool(c))
	}
	rs := redsync.New(pools...)
	return &contestant{name: "redsync", lock: func(ctx context.Context, key string) (func(context.Context) error, error) {
		m := rs.NewMutex(r.Prefix+key, redsync.WithExpiry(10*time.Second), redsync.WithTries(1))
		if err := m.LockContext(ctx); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			if ok, err := m.UnlockContext(ctx); !ok && err == nil {
				return errors.New("it was lost")
			} else {
				return err
			}
		}, nil
	}}, shut, nil
}

// measure measures the libraries in turns. It fails early only if the first
// library cannot lock at all.
func (r *benchCmd) measure(ctx context.Context, all []*contestant, cpu *cpuMeter) error {
	stem := "redlock bench:" + rand.Text() + ":"
	each := r.Duration / (2 * benchTurns)
	for _, c := range all { // connections and scripts are set up before anything is measured
		unlock, err := c.lock(ctx, stem+c.name)
		if err == nil {
			err = unlock(ctx)
		}
		if err != nil && c == all[0] {
			return err
		}
	}
	for range benchTurns {
		for _, c := range all {
			for _, turn := range []struct {
				t       *tally
				workers int
			}{{&c.alone, 1}, {&c.many, r.Workers}} {
				before := cpu.read()
				c.run(ctx, turn.t, stem+c.name, turn.workers, each)
				turn.t.cpu.add(before, cpu.read())
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

// run lets workers lock and unlock for a time, each with its own key.
func (c *contestant) run(ctx context.Context, t *tally, stem string, workers int, d time.Duration) {
	begun := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			key := fmt.Sprintf("%s:%d", stem, w)
			var acquired, released []time.Duration
			failures, failure := 0, error(nil)
			for time.Since(begun) < d && ctx.Err() == nil {
				asked := time.Now()
				unlock, err := c.lock(ctx, key)
				took := time.Since(asked)
				if err == nil {
					acquired = append(acquired, took)
					asked = time.Now()
					if err = unlock(ctx); err == nil {
						released = append(released, time.Since(asked))
					}
				}
				if err != nil {
					failures, failure = failures+1, err
					time.Sleep(time.Millisecond) // a failure is not measured, and must not flood the nodes
				}
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.acquire, t.release = append(t.acquire, acquired...), append(t.release, released...)
			t.failures += failures
			if failure != nil {
				t.failure = failure
			}
		})
	}
	wg.Wait()
	t.spent += time.Since(begun)
}

func (t *tally) sort() { slices.Sort(t.acquire); slices.Sort(t.release) }

func (t *tally) rate() float64 { return float64(len(t.release)) / t.spent.Seconds() }
