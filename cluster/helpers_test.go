package cluster

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// patience is how long a test waits for what should happen soon.
const patience = 15 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// eventually polls cond until it holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("after %v it is still not so that %s", patience, what)
		case <-poll.C:
		}
	}
}

// soon waits for done.
func soon(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("after %v it is still not so that %s", patience, what)
	}
}

// tryOpen opens cfg for at most patience, quietly. What it opens is closed at the end of the test.
func tryOpen(t testing.TB, cfg Config) (*Cluster, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	c, err := Open(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { shut(t, c) })
	}
	return c, err
}

func open(t testing.TB, s harness.Set, tweaks ...func(*Config)) *Cluster {
	t.Helper()
	cfg := Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	c, err := tryOpen(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// impatient is for tests in which a node falls silent.
func impatient(cfg *Config) { cfg.NodeTimeout = 150 * time.Millisecond }

// shortTTL keeps restarted nodes from voting for a second.
func shortTTL(cfg *Config) { cfg.MaxTTL, cfg.NodeTimeout = time.Second, 300*time.Millisecond }

func shut(t testing.TB, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// answer is what one Run got.
type answer struct {
	reply any
	err   error
}

// once is a Receiver for one Run.
type once struct {
	answers chan answer
}

func newOnce() once { return once{make(chan answer, 16)} }

func (o once) Receive(_ *Node, reply any, err error) { o.answers <- answer{reply, err} }

func (o once) wait(t testing.TB) answer {
	t.Helper()
	select {
	case a := <-o.answers:
		return a
	case <-time.After(patience):
		t.Fatalf("no answer after %v", patience)
		return answer{}
	}
}

// run runs s on n and waits for the answer.
func run(t testing.TB, n *Node, s *Script, keys []string, args ...any) answer {
	t.Helper()
	o := newOnce()
	n.Run(s, keys, args, o)
	return o.wait(t)
}

// recorder collects the answers of many Runs, by a number each.
type recorder struct {
	mu      sync.Mutex
	answers map[int][]answer
	order   []int
	total   int
	onEach  func(i int, n *Node, err error)
}

func (r *recorder) at(i int) Receiver { return numbered{r, i} }

type numbered struct {
	r *recorder
	i int
}

func (nb numbered) Receive(n *Node, reply any, err error) {
	r := nb.r
	r.mu.Lock()
	if r.answers == nil {
		r.answers = map[int][]answer{}
	}
	r.answers[nb.i] = append(r.answers[nb.i], answer{reply, err})
	r.order = append(r.order, nb.i)
	r.total++
	r.mu.Unlock()
	if r.onEach != nil {
		r.onEach(nb.i, n, err)
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// eachOnce checks that 0 to n-1 got one answer each, all of which ok accepts.
func (r *recorder) eachOnce(t testing.TB, n int, ok func(answer) bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) != n {
		t.Errorf("%d of %d got an answer", len(r.answers), n)
	}
	for i, all := range r.answers {
		if len(all) != 1 || !ok(all[0]) {
			t.Fatalf("run %d got %v", i, all)
		}
	}
}

var (
	pushScript = NewScript("push", `return redis.call('RPUSH', KEYS[1], ARGV[1])`)
	pingScript = NewScript("ping", `return 'pong'`)
	setScript  = NewScript("set", `redis.call('SET', KEYS[1], ARGV[1]) return 'OK'`)
)
