package nodeset

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

var quiet = slog.New(slog.DiscardHandler)

// unhurried is a NodeTimeout that no node exceeds that runs, however slow the
// machine is.
const unhurried = 10 * time.Second

// tryOpen opens cfg quietly, for at most [harness.Patience], and with an
// unhurried NodeTimeout if it has none. What it opens is closed at the end of
// the test.
func tryOpen(t testing.TB, cfg Config) (*Set, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, unhurried)
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	c, err := Open(ctx, cfg)
	if err == nil {
		harness.CloseAtEnd(t, c)
	}
	return c, err
}

func mustOpen(t testing.TB, cfg Config) *Set {
	t.Helper()
	began := time.Now()
	c, err := tryOpen(t, cfg)
	harness.Must(t, began, err)
	return c
}

func open(t testing.TB, s harness.Set, tweaks ...func(*Config)) *Set {
	t.Helper()
	cfg := Config{URLs: s.URLs()}
	for _, tweak := range tweaks {
		tweak(&cfg)
	}
	return mustOpen(t, cfg)
}

// impatient is for tests in which a node falls silent. On a slow machine the
// nodes that are well still answer within this time.
func impatient(cfg *Config) { cfg.NodeTimeout = 2 * time.Second }

// shortTTL keeps restarted nodes from voting for three seconds.
func shortTTL(cfg *Config) { cfg.MaxTTL, cfg.NodeTimeout = 3*time.Second, time.Second }

func shut(t testing.TB, c *Set) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	began := time.Now()
	harness.Must(t, began, c.Close(ctx))
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
	return harness.Receive(t, "an answer", o.answers)
}

// run runs s on n and waits for the answer.
func run(t testing.TB, n *Node, s *Script, keys []string, args ...any) answer {
	t.Helper()
	o := newOnce()
	n.Run(s, keys, args, o)
	return o.wait(t)
}

// ran is run of what has to succeed.
func ran(t testing.TB, n *Node, s *Script, keys []string, args ...any) any {
	t.Helper()
	began := time.Now()
	a := run(t, n, s, keys, args...)
	harness.Must(t, began, a.err)
	return a.reply
}

// recorder collects the answers of many Runs, by a number each.
type recorder struct {
	mu      sync.Mutex
	began   time.Time // the first Run
	answers map[int][]answer
	order   []int
	total   int
	onEach  func(i int, n *Node, err error)
}

func (r *recorder) at(i int) Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began.IsZero() {
		r.began = time.Now()
	}
	return numbered{r, i}
}

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
			harness.Must(t, r.began, all[0].err) // on a slow machine a node may not answer in time
			t.Fatalf("run %d got %v", i, all)
		}
	}
}

var (
	pushScript = NewScript("push", `return redis.call('RPUSH', KEYS[1], ARGV[1])`)
	pingScript = NewScript("ping", `return 'pong'`)
	setScript  = NewScript("set", `redis.call('SET', KEYS[1], ARGV[1]) return 'OK'`)
)
