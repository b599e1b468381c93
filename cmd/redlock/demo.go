package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
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
	demoExtra   = 4 * time.Second // how much longer it may take on a busy machine
)

// demo is one run of the demo.
type demo struct {
	*printer
	cmd    *demoCmd
	nodes  *embedded.Nodes // nil with --nodes
	urls   []string
	ttl    time.Duration // of the workers' locks
	short  time.Duration // of the lock that worker E sleeps past
	maxTTL time.Duration
	asleep sleep

	store    *store
	gauge    *gauge
	workers  []*worker
	quorum   int
	names    map[string]string // of the nodes
	stalled  bool              // for a while no order was finished
	noQuorum atomic.Bool       // too few nodes answered at times: this machine, or the network, is too slow
	from     time.Time         // when the work began

	unexpected []string // unexpected errors
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
	ctx, stop := untilInterrupted()
	defer stop()
	m.introduce()
	if err := m.openWorkers(ctx); err != nil {
		return err
	}
	m.work(ctx)
	r := m.result()
	m.summarize(r)
	switch {
	case len(r.broken) > 0:
		return failed(exitFailure, nil)
	case ctx.Err() != nil:
		return failed(exitSignal+signalNumber(syscall.SIGINT), nil)
	}
	return nil
}

// findNodes starts embedded nodes, or uses those of the flag. With embedded
// nodes MaxTTL is shorter than production needs, so that a restarted node votes
// again before the demo ends.
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

// openWorkers opens workers A, B, C, …; the last of them sleeps past its TTL.
func (m *demo) openWorkers(ctx context.Context) error {
	for i := range demoWorkers + 1 {
		w, err := newWorker(ctx, string(rune('A'+i)), m)
		if err != nil {
			m.closeWorkers()
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
	for i, n := range c.Status() {
		m.names[n.Node] = fmt.Sprintf("node %d", i+1)
	}
	m.say(plain, "nodes", "%d %s; %d of them decide", len(c.Status()), kind, m.quorum)
	return nil
}

func (m *demo) closeWorkers() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range m.workers {
		wg.Go(func() { w.close(ctx) })
	}
	wg.Wait()
}

// work runs the workers, and injects faults, until the duration is over.
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
	m.injectFaults(ctx)
	m.until(ctx, 1)
	cancel()
	wg.Wait()
	m.closeWorkers()
}

// until waits until a part of the duration has passed. It reports false if the
// demo ends first.
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

// progress prints how many orders are finished, and records a stall if there
// are no more than before. The length of a stall is not promised.
func (m *demo) progress(when string, before int) (now int) {
	now = m.store.count()
	if when == "" {
		m.say(plain, "orders", "%s done", thousands(now))
		return now
	}
	m.say(plain, "orders", "%s done, %s of them %s", thousands(now), thousands(now-before), when)
	if now == before {
		m.stalled = true
	}
	return now
}
