package keepalive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

var quiet = slog.New(slog.DiscardHandler)

// open opens a process's view of the nodes. A zero NodeTimeout means two seconds: machines that
// run tests are slow at times.
func open(t testing.TB, nodes harness.Set, nodeTimeout time.Duration) *nodeset.Set {
	t.Helper()
	return openWith(t, nodes, nodeset.Config{NodeTimeout: nodeTimeout})
}

func openWith(t testing.TB, nodes harness.Set, cfg nodeset.Config) *nodeset.Set {
	t.Helper()
	cfg.URLs, cfg.NodeTimeout, cfg.Logger = nodes.URLs(), cmp.Or(cfg.NodeTimeout, nodeTimeout), quiet
	c, err := nodeset.Open(t.Context(), cfg)
	must(t, err)
	harness.CloseAtEnd(t, c)
	return c
}

// lease makes Leases that are closed before their cluster.
func lease(t testing.TB, c *nodeset.Set, cfg Config) *Leases {
	t.Helper()
	s, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// gate is the network of one process. When it is cut, nothing arrives any more, and no error does.
type gate struct {
	closed  atomic.Bool
	broken  atomic.Bool  // connections break, and none can be made
	oldest  atomic.Int64 // connections that were dialed before lead nowhere
	dialed  atomic.Int64
	refused atomic.Int64           // connections that could not be made
	delay   atomic.Int64           // of each write, ns
	loses   atomic.Pointer[string] // writes that contain it do not arrive
	writes  atomic.Int64
}

func (g *gate) cut() { g.closed.Store(true) }

// fail has every connection break at its next use, and refuses new ones until heal.
func (g *gate) fail() { g.broken.Store(true) }
func (g *gate) heal() { g.broken.Store(false) }

// dropIdle has nothing arrive any more that is sent over the connections there are, as a router does that has forgotten
// them.
func (g *gate) dropIdle() { g.oldest.Store(g.dialed.Load()) }

func (g *gate) through(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	if g.broken.Load() {
		conn.Close()
		g.refused.Add(1)
		return nil, syscall.ECONNREFUSED
	}
	return &gated{Conn: conn, g: g, number: g.dialed.Add(1)}, nil
}

// gated is a connection whose writes return at once, as those to a socket do: a
// client may hold a mutex then, and in a bubble time stands still while another
// goroutine waits for that.
type gated struct {
	net.Conn
	g      *gate
	number int64

	mu     sync.Mutex
	queue  []packet
	copies bool // a goroutine does
}

// packet is what one write wrote, and when it arrives.
type packet struct {
	bytes []byte
	due   time.Time
}

func (c *gated) Write(b []byte) (int, error) {
	if c.g.broken.Load() {
		return 0, syscall.EPIPE
	}
	if c.g.closed.Load() || c.number <= c.g.oldest.Load() {
		return len(b), nil
	}
	if text := c.g.loses.Load(); text != nil && bytes.Contains(b, []byte(*text)) {
		return len(b), nil
	}
	c.g.writes.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, packet{bytes.Clone(b), time.Now().Add(time.Duration(c.g.delay.Load()))})
	if !c.copies {
		c.copies = true
		go c.copy()
	}
	return len(b), nil
}

// copy moves what was written to the connection, for as long as there is some.
func (c *gated) copy() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.copies = false
			c.mu.Unlock()
			return
		}
		p := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		time.Sleep(time.Until(p.due)) // a timer's channel would crash Go 1.26's race detector in a bubble
		if _, err := c.Conn.Write(p.bytes); err != nil {
			return
		}
	}
}

// openThrough is open with all connections through g.
func openThrough(t testing.TB, nodes harness.Set, g *gate, nodeTimeout time.Duration) *nodeset.Set {
	t.Helper()
	clients := map[string]redis.UniversalClient{}
	for _, url := range nodes.URLs() {
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		addr := o.Addr
		o.Dialer = func(context.Context, string, string) (net.Conn, error) { return g.through(net.Dial("tcp", addr)) }
		client := redis.NewClient(o)
		t.Cleanup(func() { client.Close() })
		clients[addr] = client
	}
	c, err := nodeset.Open(t.Context(), nodeset.Config{Clients: clients, NodeTimeout: nodeTimeout, Logger: quiet})
	must(t, err)
	harness.CloseAtEnd(t, c)
	return c
}

// must ends a test in which something failed that had to succeed. If it ran out of its NodeTimeout, the machine of that
// time is judged.
func must(t testing.TB, err error) {
	t.Helper()
	harness.Must(t, time.Now().Add(-nodeTimeout), err)
}

// acquire tries until it has the key: what was released may still be on its way back on a minority of the nodes, and a
// busy machine may look at the answers too late.
func acquire(t testing.TB, s *Leases, key string, req Request) (l *Lease) {
	t.Helper()
	began := time.Now()
	harness.Eventually(t, fmt.Sprintf("%q is acquired", key), func() (ok bool) {
		var err error
		if l, err = s.Try(t.Context(), key, req); !errors.Is(err, ErrNotAcquired) {
			harness.Must(t, began, err)
		}
		return err == nil
	})
	return l
}

// acquireAtOnce makes one attempt that has to succeed, as it does in virtual time.
func acquireAtOnce(t testing.TB, s *Leases, key string, req Request) *Lease {
	t.Helper()
	l, err := s.Try(t.Context(), key, req)
	must(t, err)
	return l
}

// nodeClients are plain clients of all nodes.
func nodeClients(t testing.TB, nodes harness.Set) []*redis.Client {
	all := make([]*redis.Client, nodes.Len())
	for i := range all {
		all[i] = harness.Client(t, nodes, i)
	}
	return all
}

// queued is how many processes wait for key on each node.
func queued(t testing.TB, clients []*redis.Client, key string) []int64 {
	t.Helper()
	all := make([]int64, len(clients))
	for i, c := range clients {
		n, err := c.ZCard(t.Context(), "{lock:"+key+"}:queue").Result()
		must(t, err)
		all[i] = n
	}
	return all
}

// taken has somebody else have key on every node.
func taken(t testing.TB, clients []*redis.Client, key string) {
	t.Helper()
	for _, c := range clients {
		must(t, c.Set(t.Context(), "lock:"+key, "somebody", long).Err())
	}
}

// vanish deletes key on every node without a wake-up.
func vanish(t testing.TB, clients []*redis.Client, key string) {
	t.Helper()
	for _, c := range clients {
		must(t, c.Del(t.Context(), "lock:"+key).Err())
	}
}

// queues reports whether n processes wait on a quorum of nodes, and no more on any; with n zero on all. A node that was
// not needed any more to refuse an attempt queues nobody.
func queues(t testing.TB, clients []*redis.Client, key string, n int64) func() bool {
	return func() bool {
		full := 0
		for _, got := range queued(t, clients, key) {
			switch {
			case got > n:
				return false
			case got == n:
				full++
			}
		}
		return full >= nodeset.Quorum(len(clients)) && (n > 0 || full == len(clients))
	}
}

// result is how a call on another goroutine ended.
type result struct {
	l   *Lease
	err error
	at  time.Time
}

// await waits for a key on a goroutine of its own.
func await(ctx context.Context, s *Leases, key string, req Request) <-chan result {
	ch := make(chan result, 1)
	go func() {
		l, err := s.Await(ctx, key, req)
		ch <- result{l, err, time.Now()}
	}()
	return ch
}
