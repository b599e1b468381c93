//go:build unix

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/machine"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// clientEnv holds the clientConfig of a process that is to be a client.
const clientEnv = "REDLOCK_CHAOS_CLIENT"

// client is the state of a client's process.
type client struct {
	cfg    clientConfig
	c      *cluster.Cluster
	locker *lock.Locker
	leases *lease.Leases
	ops    atomic.Int64

	sawLast chan struct{} // closed when the last candidate was seen

	mu  sync.Mutex
	out *json.Encoder
}

// RunIfClient runs the client and exits if this process was started as a client. In any other process it does nothing.
func RunIfClient() {
	if config := os.Getenv(clientEnv); config != "" {
		os.Exit(runClient(config))
	}
}

// runClient is the main function of a client's process.
func runClient(config string) (code int) {
	c := &client{out: json.NewEncoder(os.Stdout), sawLast: make(chan struct{})}
	if err := json.Unmarshal([]byte(config), &c.cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	logging.Disable() // messages of go-redis about connections would hide those of the clients
	told, orphaned := listenTo(os.Stdin)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-orphaned
		os.Exit(3)
	}()
	if err := c.open(ctx); err != nil {
		if errors.Is(err, cluster.ErrNoQuorum) { // open retries until it runs out of time
			err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
		}
		c.fail("open", err)
		return 1
	}
	leaders, err := c.leases.Observe(context.Background(), electionName)
	if err != nil {
		c.fail("observe", err)
		return 1
	}
	observed := make(chan struct{})
	go func() { defer close(observed); c.observe(leaders) }()
	c.send(report{Kind: reportReady})
	go c.watch()
	stop, measured := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(measured)
		watchPace(stop, func(from, to int64, r machine.Report) {
			c.send(report{Kind: reportPace, Pace: &pace{Client: c.cfg.Number, From: from, To: to, Report: r}})
		})
	}()

	var traffic sync.WaitGroup
	for n := range workers {
		traffic.Go(func() { c.work(ctx, n) })
	}
	last := false
	select {
	case <-told[toldFinish]:
		last = true
	case <-told[toldLeave]:
	}
	cancel()
	traffic.Wait()
	if last {
		c.lap(told[toldResign])
	}
	err = c.close()
	<-observed
	close(stop)
	<-measured
	if err != nil {
		c.fail("close", err)
		return 1
	}
	c.send(report{Kind: reportBye})
	return 0
}

// listenTo reads the words that the test's process sends. The channel of a word is closed when the word arrives, and
// orphaned when the test's process has ended.
func listenTo(in io.Reader) (told map[string]chan struct{}, orphaned <-chan struct{}) {
	told = map[string]chan struct{}{toldFinish: make(chan struct{}), toldLeave: make(chan struct{}), toldResign: make(chan struct{})}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			close(told[lines.Text()])
		}
	}()
	return told, gone
}

func (c *client) open(ctx context.Context) (err error) {
	t := c.cfg.Tempo
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("client", c.cfg.Number)
	for patience := time.Now().Add(nodeTimeout / 2); ; { // on a busy machine nodes may be slow to answer
		c.c, err = cluster.Open(ctx, cluster.Config{URLs: c.cfg.URLs, MaxTTL: t.MaxTTL, NodeTimeout: t.NodeTimeout, Logger: log})
		if err == nil {
			break
		}
		if !errors.Is(err, cluster.ErrNoQuorum) || time.Now().After(patience) {
			return err
		}
	}
	if c.cfg.Number <= ClientCount { // let the first clients reach all nodes
		c.awaitVotes(t.MaxTTL + nodeTimeout/2)
	}
	cfg := lock.Config{TTL: t.TTL, Owner: fmt.Sprintf("client-%d", c.cfg.Number)}
	c.locker, err = lock.New(c.c, cfg)
	if err != nil {
		return err
	}
	c.leases, err = lease.New(c.c, lease.Config(cfg))
	return err
}

// awaitVotes waits until every node votes, but no longer than patience.
func (c *client) awaitVotes(patience time.Duration) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	silent := func(s cluster.Status) bool { return !s.Up || !s.Votes }
	for end := time.Now().Add(patience); slices.ContainsFunc(c.c.Status(), silent) && time.Now().Before(end); {
		<-tick.C
	}
}

func (c *client) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(c.locker.Close(ctx), c.leases.Close(ctx), c.c.Close(ctx))
}

func (c *client) send(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(r); err != nil { // one write, so that a line is complete or missing
		os.Exit(3)
	}
}

// fail reports an error. A time-out is reported as missed progress, any other error as a fault.
func (c *client) fail(what string, err error) {
	kind := reportFault
	if machine.TimedOut(err) {
		kind = reportMissed
	}
	c.send(report{Kind: kind, Text: what + ": " + err.Error()})
}

const (
	heartbeat = 5 * time.Millisecond
	standing  = 15 * time.Millisecond // a longer pause between two heartbeats means that the process did not run
)

// watch reports when this process did not run.
func (c *client) watch() {
	last := now()
	for range time.Tick(heartbeat) {
		t := now()
		if t-last > int64(standing) {
			c.send(report{Kind: reportStall, Stall: &stall{Client: c.cfg.Number, From: last, To: t}})
		}
		last = t
	}
}
