package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lock"
)

type demoCmd struct {
	Nodes    string        `placeholder:"URL,URL,…" help:"Use these nodes instead of embedded ones. They are not stopped or frozen then."`
	Duration time.Duration `default:"8s" placeholder:"D" help:"How long to work, from 5s to 1m. Default ${default}."`
}

func (demoCmd) Help() string {
	return `Four workers, each with its own connections as four processes would have, do orders one after another under ` +
		`WithLock(ctx, "order:42", …) and write them into a store that refuses old tokens. ` +
		`Meanwhile one of five nodes is stopped, another is frozen, and a fifth worker sleeps past its TTL. ` +
		`At the end everything that was promised is checked against what was written down.` + `

Exit codes: 0 every promise held; 1 one was broken; 130 interrupted.`
}

const (
	demoKey     = "order:42"
	demoPrefix  = "redlock-demo:"
	demoWorkers = 4
	demoLoops   = 3 // goroutines of each
	demoLongest = time.Minute
	demoLeast   = 5 * time.Second
	demoExtra   = 4 * time.Second // how much longer it may take on a machine that is busy
)

// demo is one run.
type demo struct {
	*printer
	cmd    *demoCmd
	nodes  *embedded.Nodes // nil with --nodes
	urls   []string
	ttl    time.Duration // of the workers' locks
	short  time.Duration // of the sleeper's
	maxTTL time.Duration
	asleep sleep

	store   *store
	gauge   *gauge
	workers []*worker
	quorum  int
	names   map[string]string // of the nodes
	halted  bool              // for a while no order was done
	thin    atomic.Bool       // there was no quorum at times: this machine, or the network, is too slow
	from    time.Time         // when the work began

	unexpected []string // what went wrong and should not have
}

func (d *demoCmd) Run() error {
	if d.Duration < demoLeast || d.Duration > demoLongest {
		return misused("--duration %v: from %v to %v", d.Duration, demoLeast, demoLongest)
	}
	m := &demo{printer: newPrinter(), cmd: d, store: &store{}, gauge: &gauge{}, names: map[string]string{}}
	if err := m.findNodes(); err != nil {
		return err
	}
	if m.nodes != nil {
		defer m.nodes.Close()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m.introduce()
	if err := m.hire(ctx); err != nil {
		return err
	}
	m.work(ctx)
	r := m.result()
	m.summarize(r)
	switch {
	case len(r.broken) > 0:
		return failed(exitFailure, nil)
	case ctx.Err() != nil:
		return failed(exitSignal+number(syscall.SIGINT), nil)
	}
	return nil
}

// findNodes starts embedded nodes, or takes those of the flag. With embedded ones MaxTTL is shorter than is sensible in
// earnest, so that there is time to see a restarted node vote again.
func (m *demo) findNodes() error {
	m.ttl, m.short, m.maxTTL = 2*time.Second, time.Second, maxTTL
	if m.urls = splitURLs(m.cmd.Nodes); len(m.urls) > 0 {
		return nil
	}
	nodes, err := embedded.Start(5)
	if err != nil {
		return err
	}
	m.nodes, m.urls = nodes, nodes.URLs()
	m.maxTTL = min(m.cmd.Duration*3/10, 3*time.Second)
	m.ttl = min(m.ttl, m.maxTTL)
	return nil
}

func (m *demo) config() cluster.Config {
	return cluster.Config{URLs: m.urls, MaxTTL: m.maxTTL, Logger: slog.New(slog.DiscardHandler)}
}

func (m *demo) introduce() {
	fmt.Fprintln(m.w, m.hanging(fmt.Sprintf("%d workers, %d goroutines each, do orders one at a time: each order under WithLock(ctx, %q, …). "+
		"A worker that acquires the lock gets a token, a number that only grows. The store to which the orders are written "+
		"refuses a token older than the newest it has seen.", demoWorkers, demoLoops, demoKey), 0))
	fmt.Fprintln(m.w)
}

// hire opens the workers. Their first names are A, B, C, …; the last is the one that will sleep.
func (m *demo) hire(ctx context.Context) error {
	for i := range demoWorkers + 1 {
		w, err := newWorker(ctx, string(rune('A'+i)), m)
		if err != nil {
			m.dismiss()
			return err
		}
		m.workers = append(m.workers, w)
	}
	kind := "given nodes, which are left alone: none is stopped or frozen"
	if m.nodes != nil {
		kind = "embedded Redis nodes on loopback ports"
	}
	c := m.workers[0].c
	m.quorum = c.Quorum()
	for i, n := range c.Nodes() {
		m.names[n.Name()] = fmt.Sprintf("node %d", i+1)
	}
	m.say(plain, "nodes", "%d %s; %d of them decide", len(c.Nodes()), kind, m.quorum)
	return nil
}

// dismiss closes the workers.
func (m *demo) dismiss() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range m.workers {
		wg.Go(func() { w.close(ctx) })
	}
	wg.Wait()
}

// work lets the workers work, and things go wrong, until the time is up.
func (m *demo) work(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.cmd.Duration+demoExtra)
	defer cancel()
	m.from = time.Now()
	m.say(plain, "workers", "A, B, C and D begin; locks live %v unless they are renewed", m.ttl)
	var wg sync.WaitGroup
	for _, w := range m.workers[:demoWorkers] {
		for range demoLoops {
			wg.Go(func() { w.loop(ctx) })
		}
	}
	wg.Go(func() { m.watchNodes(ctx) })
	m.trouble(ctx)
	m.until(ctx, 1)
	cancel()
	wg.Wait()
	m.dismiss()
}

// trouble is what goes wrong, at set parts of the duration.
func (m *demo) trouble(ctx context.Context) {
	at := func(part float64) bool { return m.until(ctx, part) }
	if m.nodes == nil {
		if at(0.15) {
			m.progress("", 0)
			m.sleeper(ctx)
		}
		if at(0.9) {
			m.progress("", 0)
		}
		return
	}
	if !at(0.10) {
		return
	}
	m.progress("", 0)
	m.say(fault, "fault", "node 2 is stopped: connections to it break. 4 of 5 nodes are left")
	before := m.store.count()
	m.nodes.Stop(1)
	if !at(0.22) {
		return
	}
	before = m.progress("with node 2 stopped", before)
	m.say(fault, "fault", "node 4 is frozen: it takes commands and answers none. 3 of 5 are left, just enough")
	m.nodes.Pause(3)
	if !at(0.34) {
		return
	}
	m.progress("with node 2 stopped and node 4 frozen", before)
	m.say(fixed, "fixed", "node 4 thaws, and executes what it was sent meanwhile")
	m.nodes.Resume(3)
	m.say(fixed, "fixed", "node 2 is started again, empty: it has forgotten every lock it granted")
	before = m.store.count()
	if err := m.nodes.Restart(1, true); err != nil {
		m.unexpected = append(m.unexpected, err.Error())
	}
	if !at(0.5) {
		return
	}
	m.progress("since", before)
	m.sleeper(ctx)
	before = m.store.count()
	if at(0.97) {
		m.progress("since", before)
	}
}

// until waits for a part of the duration to be over. It reports false when the demo ended before.
func (m *demo) until(ctx context.Context, part float64) bool {
	timer := time.NewTimer(time.Until(m.from.Add(time.Duration(part * float64(m.cmd.Duration)))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// progress says how many orders were done, and notes it if there were none. How long a stall may last is not promised.
func (m *demo) progress(when string, before int) (now int) {
	now = m.store.count()
	if when == "" {
		m.say(plain, "orders", "%s done", thousands(now))
		return now
	}
	m.say(plain, "orders", "%s done, %s of them %s", thousands(now), thousands(now-before), when)
	if now == before {
		m.halted = true
	}
	return now
}

// sleep is what became of the worker that slept.
type sleep struct {
	token   int64
	err     error // what the store said to its late write
	wrote   bool
	account error // what WithLock returned
}

// sleeper takes the lock and sleeps past its TTL, as a process does that the system has stopped, and writes then.
// A process cannot stop itself and tell the tale; MaxHold has its lock not renewed, and the code does not look at its
// context, which comes to the same.
func (m *demo) sleeper(ctx context.Context) {
	w := m.workers[demoWorkers]
	nap := func(held context.Context) error {
		token, _ := lock.Token(held)
		defer m.gauge.enter(held, w.name, token)()
		n, err := m.store.next(token)
		if err != nil {
			return err
		}
		m.asleep.token = token
		m.say(fault, "fault", "worker E gets the lock for order %s, token %d, and sleeps past its TTL of %v", thousands(n), token, m.short)
		m.say(quiet, "", "as a stopped process would: MaxHold ends the renewals, and its code ignores its context")
		if !m.oversleep(ctx, token) {
			return ctx.Err()
		}
		m.asleep.err, m.asleep.wrote = m.store.finish(token, n, w.name), true
		return m.asleep.err
	}
	for m.asleep.token == 0 && ctx.Err() == nil {
		m.asleep.account = w.locker.WithLock(ctx, demoKey, nap, lock.TTL(m.short), lock.MaxHold(m.short/4))
		if m.asleep.token == 0 {
			m.slow()
			time.Sleep(retryAfter)
		}
	}
	switch {
	case !m.asleep.wrote:
		m.say(plain, "worker E", "did not come to write: %v", m.asleep.account)
	case m.asleep.err == nil:
		m.say(broken, "worker E", "wakes up and writes its order with token %d: ACCEPTED", m.asleep.token)
	default:
		m.say(fenced, "worker E", "wakes up and writes its order: REJECTED, %v", m.asleep.err)
	}
}

// oversleep sleeps past the TTL, and until somebody else has had the lock.
func (m *demo) oversleep(ctx context.Context, token int64) bool {
	begun := time.Now()
	select {
	case next := <-m.gauge.after(token):
		m.say(plain, "worker "+next.who, "gets the lock %v after E did, token %d: orders go on",
			next.at.Sub(begun).Round(time.Millisecond), next.token)
	case <-ctx.Done():
		return false
	}
	timer := time.NewTimer(time.Until(begun.Add(m.short * 8 / 5)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchNodes says what worker A notices of the nodes.
func (m *demo) watchNodes(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	before := m.workers[0].c.Status()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := m.workers[0].c.Status()
		up := 0
		for i := range now {
			if !m.thin.Load() { // what is down then is too much to tell
				m.notice(before[i], now[i])
			}
			if now[i].Up && now[i].Votes {
				up++
			}
		}
		if up < m.quorum {
			m.slow()
		}
		before = now
	}
}

// slow notes that there was no quorum although only a minority of the nodes was hurt.
func (m *demo) slow() {
	if m.thin.CompareAndSwap(false, true) {
		m.say(fault, "slow", "too few nodes answer in time: is this machine busy? orders wait until they do")
	}
}

func (m *demo) notice(was, is cluster.Status) {
	name := m.names[is.Node]
	switch {
	case was.Up && !is.Up:
		m.say(quiet, "", "worker A notices: %s is down; it is not waited for until a probe reaches it", name)
	case !was.Up && is.Up && !is.Votes:
		m.say(quiet, "", "worker A notices: %s is back, and has restarted; its vote does not count for %v more,", name, is.VotesIn.Round(100*time.Millisecond))
		m.say(quiet, "", "until every lock that it may have forgotten has expired")
	case !was.Up && is.Up:
		m.say(quiet, "", "worker A notices: %s is back", name)
	case !was.Votes && is.Votes:
		m.say(fixed, "fixed", "%s votes again", name)
	}
}
