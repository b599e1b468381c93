//go:build unix

package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// clientEnv holds the clientConfig of a process that is to be a client.
const clientEnv = "REDLOCK_CHAOS_CLIENT"

// toldFinish is what a client is told on its standard input when the faults are over. The input's end means that the
// test's process is gone.
const toldFinish = "finish"

// toldResign is what the client with the last word is told when all others have ended.
const toldResign = "resign"

// How many goroutines of a client acquire keys: so many keep leases, one campaigns, the others run WithLock.
const (
	keepers = 2
	workers = keepers + 1 + 3
)

// What is elected, the lock behind it, and the candidate that leads when the faults are over, until every other client has
// seen it.
const (
	electionName  = "boss"
	electionKey   = "election:" + electionName
	lastCandidate = "the last"
)

// The keys, by how much they are wanted.
var (
	hotKeys  = []string{"hot-0", "hot-1"}
	longKeys = []string{"long-0", "long-1", "long-2"}
	coldKeys = []string{"cold-0", "cold-1", "cold-2", "cold-3", "cold-4", "cold-5"}
	jobKey   = "job" // of short leases only
)

func allKeys() []string {
	return slices.Concat(hotKeys, longKeys, coldKeys, []string{jobKey})
}

// tempo is how fast time runs out.
type tempo struct {
	TTL, MaxTTL, NodeTimeout time.Duration
}

type clientConfig struct {
	Number int
	Last   bool // is to be the last candidate
	URLs   []string
	Store  string
	Seed   uint64
	Tempo  tempo
}

// report is one line of a client's standard output.
type report struct {
	Kind    reportKind
	Attempt *attempt  `json:",omitempty"`
	Stall   *stall    `json:",omitempty"`
	Deposit *deposit  `json:",omitempty"`
	Watch   *watch    `json:",omitempty"`
	Seen    *sighting `json:",omitempty"`
	Text    string    `json:",omitempty"`
}

type reportKind string

const (
	reportReady reportKind = "ready" // it has met the nodes
	reportCall  reportKind = "call"  // an attempt begins
	reportHeld  reportKind = "held"  // and has a key: before the key is used, and again before it is given back
	reportOver  reportKind = "over"  // and is over
	reportStall reportKind = "stall"
	reportKept  reportKind = "checkpoint" // is about to be made, and was or not
	reportWatch reportKind = "watch"      // an observer begins, and ends
	reportSeen  reportKind = "seen"       // a leader
	reportFault reportKind = "fault"      // something that must not happen
	reportBye   reportKind = "bye"        // everything was closed in peace
)

// client is what runs in a client's process.
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

// runClient is the main function of a client's process.
func runClient(config string) (code int) {
	c := &client{out: json.NewEncoder(os.Stdout), sawLast: make(chan struct{})}
	if err := json.Unmarshal([]byte(config), &c.cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	finish, resign, orphaned := listenTo(os.Stdin)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-orphaned
		os.Exit(3)
	}()
	if err := c.open(ctx); err != nil {
		c.send(report{Kind: reportFault, Text: "open: " + err.Error()})
		return 1
	}
	leaders, err := c.leases.Observe(context.Background(), electionName)
	if err != nil {
		c.send(report{Kind: reportFault, Text: "observe: " + err.Error()})
		return 1
	}
	observed := make(chan struct{})
	go func() { defer close(observed); c.observe(leaders) }()
	c.send(report{Kind: reportReady})
	go c.watch()

	var traffic sync.WaitGroup
	for n := range workers {
		traffic.Go(func() { c.work(ctx, n) })
	}
	<-finish
	cancel()
	traffic.Wait()
	c.lap(resign)
	err = c.close()
	<-observed
	if err != nil {
		c.send(report{Kind: reportFault, Text: "close: " + err.Error()})
		return 1
	}
	c.send(report{Kind: reportBye})
	return 0
}

// listenTo reads what the test's process says. The first two channels are closed when it says toldFinish and toldResign, the
// third when it is gone.
func listenTo(in io.Reader) (finish, resign, orphaned <-chan struct{}) {
	told := map[string]chan struct{}{toldFinish: make(chan struct{}), toldResign: make(chan struct{})}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			close(told[lines.Text()])
		}
	}()
	return told[toldFinish], told[toldResign], gone
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
	if c.cfg.Number <= clientCount { // let the first clients meet all nodes
		c.awaitVotes(t.MaxTTL + nodeTimeout/2)
	}
	cfg := lock.Config{TTL: t.TTL, Owner: fmt.Sprintf("client-%d", c.cfg.Number)}
	c.locker, err = lock.New(c.c, cfg)
	if err != nil {
		return err
	}
	c.leases, err = lease.New(c.c, cfg)
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
	if err := c.out.Encode(r); err != nil { // one write, so a line is there as a whole or not at all
		os.Exit(3)
	}
}

const (
	heartbeat = 5 * time.Millisecond
	standing  = 15 * time.Millisecond // a heartbeat that comes after so long shows that the process stood still
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

// worker is one goroutine of traffic.
type worker struct {
	*client
	n     int
	rng   *rand.Rand
	store *storeConn
}

func (c *client) newWorker(n int) *worker {
	store, err := dialStore(c.cfg.Store)
	if err != nil {
		c.send(report{Kind: reportFault, Text: "store: " + err.Error()})
		os.Exit(1)
	}
	return &worker{client: c, n: n, rng: rand.New(rand.NewPCG(c.cfg.Seed, uint64(n))), store: store}
}

// work makes traffic until ctx ends.
func (c *client) work(ctx context.Context, n int) {
	w := c.newWorker(n)
	for ctx.Err() == nil {
		switch {
		case n < keepers:
			w.lease(ctx)
		case n == keepers:
			w.campaign(ctx)
		default:
			w.withLock(ctx)
		}
		rest(ctx, w.upTo(8*time.Millisecond))
	}
}

// lap gets every key once, when the faults are over, and sees the last leader, or is it. Nodes that were away may be noticed to
// be back only after a while.
func (c *client) lap(resign <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	w := c.newWorker(workers - 1)
	for _, key := range allKeys() {
		for w.lapOf(ctx, key) {
		}
	}
	if c.cfg.Last {
		for w.reign(ctx, lastCandidate, resign) {
		}
		return
	}
	select {
	case <-c.sawLast:
	case <-ctx.Done():
	}
}

// lapOf reports whether to try again.
func (w *worker) lapOf(ctx context.Context, key string) (again bool) {
	a := w.begin(lastLap, key)
	err := w.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		w.hold(ctx, a, token, func() {})
		return nil
	})
	again = errors.Is(err, lock.ErrNoQuorum) && ctx.Err() == nil
	if again {
		a.Way = "WithLock" // this was not the last
	}
	w.finish(a, err)
	return again
}

func (w *worker) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}

func (w *worker) oneOf(keys []string) string { return keys[w.rng.IntN(len(keys))] }

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (w *worker) begin(way, key string) *attempt {
	return w.call(attempt{Way: way, Key: key})
}

// call reports that an attempt begins.
func (w *worker) call(as attempt) *attempt {
	a := &as
	a.Client, a.Worker, a.Op = w.cfg.Number, w.n, int(w.ops.Add(1))
	a.Call = now()
	w.send(report{Kind: reportCall, Attempt: a})
	return a
}

// finish reports how an attempt ended. Without a quorum it takes a rest, because the next attempt would fail as fast.
func (w *worker) finish(a *attempt, err error) {
	a.Return = now()
	if errors.Is(err, lock.ErrNoQuorum) {
		defer time.Sleep(w.upTo(50 * time.Millisecond))
	}
	if err != nil {
		a.Err, a.Odd = err.Error(), odd(err)
	}
	w.send(report{Kind: reportOver, Attempt: a})
}

// odd reports whether err is none that faults and contexts bring about.
func odd(err error) bool {
	for _, want := range []error{
		lock.ErrNotAcquired, lock.ErrNoQuorum, lock.ErrLost, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, want) {
			return false
		}
	}
	return true
}

// withLock works under a lock for a short while.
func (w *worker) withLock(ctx context.Context) {
	key, way, opts := w.oneOf(hotKeys), "WithLock", []lock.Option(nil)
	if w.rng.IntN(4) == 0 {
		key = w.oneOf(coldKeys)
	}
	d := w.upTo(20 * time.Millisecond)
	switch w.rng.IntN(10) {
	case 0:
		key, way, opts = w.oneOf(longKeys), "TryLock", []lock.Option{lock.NoWait()}
	case 1, 2, 3:
		opts = []lock.Option{lock.Wait(w.upTo(300 * time.Millisecond))}
	case 4:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.upTo(15*time.Millisecond))
		defer cancel()
	}
	a := w.begin(way, key)
	w.finish(a, w.locker.WithLock(ctx, key, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		w.hold(ctx, a, token, func() { rest(ctx, d) })
		return nil
	}, opts...))
}

// lease keeps a key, mostly for so long that it has to be renewed, and that others wait for it.
func (w *worker) lease(ctx context.Context) {
	key, d := w.oneOf(longKeys), w.cfg.Tempo.TTL/2+w.upTo(w.cfg.Tempo.TTL*7/2)
	switch w.rng.IntN(4) {
	case 0:
		key, d = w.oneOf(hotKeys), w.upTo(50*time.Millisecond)
	case 1:
		key, d = jobKey, w.upTo(100*time.Millisecond)
	}
	a := w.begin("lease", key)
	waiting, cancel := context.WithTimeout(ctx, w.cfg.Tempo.TTL*2)
	defer cancel()
	l, err := w.leases.Acquire(waiting, key)
	if err != nil {
		w.finish(a, err)
		return
	}
	a.Resumed = true
	if data, _, ok := l.LastCheckpoint(); ok {
		a.Found = readCheckpoint(data)
	}
	held, stop := context.WithCancel(l.Context())
	defer context.AfterFunc(ctx, stop)()
	defer stop()
	w.hold(held, a, l.Token(), func() {
		for end, n := time.Now().Add(d), int64(1); held.Err() == nil && time.Now().Before(end); n++ {
			rest(held, min(time.Until(end), w.upTo(w.cfg.Tempo.TTL/2)))
			w.checkpoint(l, n)
		}
	})
	w.finish(a, l.Release(context.Background()))
}

// checkpoint makes the n-th checkpoint of a lease: its version, some of them so large that they take another way to the nodes.
// Some say instead that there is none any more.
func (w *worker) checkpoint(l *lease.Lease, n int64) {
	d := &deposit{
		version: version{l.Token(), n}, Client: w.cfg.Number, Key: l.Key(), Cleared: w.rng.IntN(8) == 0, Call: now(),
	}
	w.send(report{Kind: reportKept, Deposit: d})
	ctx, cancel := context.WithTimeout(context.Background(), w.upTo(4*w.cfg.Tempo.NodeTimeout))
	defer cancel()
	var err error
	if d.Cleared {
		err = l.ClearCheckpoint(ctx)
	} else {
		padding := 0
		if w.rng.IntN(8) == 0 {
			padding = 20 << 10
		}
		err = l.Checkpoint(ctx, writeCheckpoint(d.version, padding))
	}
	if err != nil && odd(err) {
		w.send(report{Kind: reportFault, Text: "checkpoint: " + err.Error()})
	}
	d.Kept = err == nil
	w.send(report{Kind: reportKept, Deposit: d})
}

func writeCheckpoint(v version, padding int) []byte {
	return fmt.Appendf(nil, "%d %d %*s", v.Token, v.N, padding, "")
}

// readCheckpoint reads what writeCheckpoint wrote. What cannot be read is a version that nobody made.
func readCheckpoint(data []byte) (v version) {
	if _, err := fmt.Sscan(string(data), &v.Token, &v.N); err != nil {
		return version{-1, -1}
	}
	return v
}

// campaign tries to lead for a while, and asks who leads.
func (w *worker) campaign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.upTo(3*w.cfg.Tempo.TTL))
	defer cancel()
	if w.rng.IntN(2) == 0 {
		w.reign(ctx, fmt.Sprintf("client-%d", w.cfg.Number), nil)
	} else {
		rest(ctx, w.upTo(w.cfg.Tempo.TTL/2))
	}
	asked := now()
	leader, _, err := w.leases.Leader(ctx, electionName)
	switch {
	case err == nil:
		w.send(report{Kind: reportSeen, Seen: &sighting{w.cfg.Number, leader.Candidate, leader.Token, asked, now()}})
	case odd(err):
		w.send(report{Kind: reportFault, Text: "leader: " + err.Error()})
	}
}

// reign leads until ctx ends, or resign is closed. It reports whether to try again.
func (w *worker) reign(ctx context.Context, candidate string, resign <-chan struct{}) (again bool) {
	a := w.call(attempt{Way: "campaign", Key: electionKey, Candidate: candidate})
	l, err := w.leases.Campaign(ctx, electionName, candidate)
	if err != nil {
		w.finish(a, err)
		return errors.Is(err, lock.ErrNoQuorum) && ctx.Err() == nil
	}
	w.hold(l.Context(), a, l.Token(), func() {
		select {
		case <-ctx.Done():
		case <-l.Done():
		case <-resign:
			select { // it is to see itself as well
			case <-w.sawLast:
			case <-ctx.Done():
			}
		}
	})
	w.finish(a, l.Release(context.Background()))
	return false
}

// observe reports the leaders that it is told of.
func (c *client) observe(leaders <-chan lease.Leader) {
	me := &watch{Client: c.cfg.Number, From: now()}
	c.send(report{Kind: reportWatch, Watch: me})
	saw := false
	for l := range leaders {
		c.send(report{Kind: reportSeen, Seen: &sighting{Client: c.cfg.Number, Candidate: l.Candidate, Token: l.Token, At: now()}})
		if l.Candidate == lastCandidate && !saw {
			saw = true
			close(c.sawLast)
		}
	}
	me.To = now()
	c.send(report{Kind: reportWatch, Watch: me})
}

// hold is what a holder does in its time: it reads the store, works and, later, writes what it read, one version on. It stops when
// ctx ends, but half of the times it does not listen to that before it writes.
func (w *worker) hold(ctx context.Context, a *attempt, token int64, work func()) {
	a.Acquired, a.Token = now(), token
	var ended atomic.Int64
	watched := context.AfterFunc(ctx, func() { ended.Store(now()) })
	w.send(report{Kind: reportHeld, Attempt: a})

	read := w.ask(storeRequest{Key: a.Key, Token: token})
	work()
	if read.Accepted && (ctx.Err() == nil || w.rng.IntN(2) == 0) {
		w.ask(storeRequest{Key: a.Key, Token: token, Write: true, Base: read.Version})
	}

	a.Until = now()
	if !watched() && errors.Is(context.Cause(ctx), lock.ErrLost) {
		a.Lost = true
		if t := ended.Load(); t != 0 {
			a.Until = t
		}
	}
	w.send(report{Kind: reportHeld, Attempt: a})
}

func (w *worker) ask(req storeRequest) storeReply {
	req.Client = w.cfg.Number
	reply, err := w.store.ask(req)
	if err != nil {
		w.send(report{Kind: reportFault, Text: "store: " + err.Error()})
		os.Exit(1)
	}
	return reply
}
