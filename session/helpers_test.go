package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) { harness.Main(m) }

func open(t testing.TB, nodes harness.Set, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, 15*time.Second)
	cfg.Clients, cfg.Logger = map[string]redis.UniversalClient{}, slog.New(slog.DiscardHandler)
	for i, url := range nodes.URLs() {
		o, err := redis.ParseURL(url)
		must(t, err)
		o.Dialer = lines.dial
		cl := redis.NewClient(o)
		defer cl.Close() // only its options are used
		cfg.Clients[fmt.Sprint("node", i)] = cl
	}
	c, err := cluster.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// store returns a Store on a Cluster of its own, as in another process.
func store(t testing.TB, nodes harness.Set, cfg Config) *Store {
	t.Helper()
	s, err := New(open(t, nodes, cluster.Config{}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// hasty returns a Store that soon considers a node down.
func hasty(t testing.TB, nodes harness.Set) *Store {
	t.Helper()
	s, err := New(open(t, nodes, cluster.Config{NodeTimeout: time.Second}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// locking returns a Store with a Locker.
func locking(t testing.TB, nodes harness.Set, cfg Config) *Store {
	t.Helper()
	c := open(t, nodes, cluster.Config{})
	k, err := lock.New(c, lock.Config{TTL: 50 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close(context.Background()) })
	cfg.Locker = k
	s, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type data = map[string]any

func create(t testing.TB, s *Store, user string, d data, opts ...Option) *Session {
	t.Helper()
	ss, err := s.Create(t.Context(), user, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ss
}

func load(t testing.TB, s *Store, id string) *Session {
	t.Helper()
	ss, err := s.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return ss
}

func set(t testing.TB, ss *Session, name string, v any) {
	t.Helper()
	must(t, ss.Set(name, v))
	must(t, ss.Commit(t.Context()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// has fails unless the field has the value want.
func has[T comparable](t testing.TB, ss *Session, name string, want T) {
	t.Helper()
	if v, ok, err := Get[T](ss, name); v != want || !ok || err != nil {
		t.Fatalf("%s is %v, %v, %v; want %v", name, v, ok, err, want)
	}
}

func gone(t testing.TB, s *Store, id string) {
	t.Helper()
	if ss, err := s.Load(t.Context(), id); !errors.Is(err, ErrSessionGone) {
		t.Fatalf("read %v, %v; want it gone", ss, err)
	}
}

var eventually = harness.Eventually

// lines holds all connections to nodes, by address. A cut connection is noticed
// at once, unlike a frozen node.
var lines = wires{cut: map[string]bool{}, open: map[string][]net.Conn{}}

type wires struct {
	mu   sync.Mutex
	cut  map[string]bool
	open map[string][]net.Conn
}

func (w *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut[addr] {
		return nil, errors.Join(errors.New("cut"), cn.Close())
	}
	w.open[addr] = append(w.open[addr], cn)
	return cn, nil
}

// cutter returns a function that cuts all connections to one node.
func cutter(t testing.TB, nodes harness.Set) func(i int) {
	return func(i int) {
		o, err := redis.ParseURL(nodes.URLs()[i])
		must(t, err)
		lines.mu.Lock()
		defer lines.mu.Unlock()
		lines.cut[o.Addr] = true
		for _, cn := range lines.open[o.Addr] {
			cn.Close()
		}
		delete(lines.open, o.Addr)
		t.Cleanup(func() { fix(t, nodes, i) }) // another test may get the address
	}
}

func fix(t testing.TB, nodes harness.Set, i int) {
	o, err := redis.ParseURL(nodes.URLs()[i])
	must(t, err)
	lines.mu.Lock()
	defer lines.mu.Unlock()
	delete(lines.cut, o.Addr)
}

// down stops nodes after they have executed all commands that were sent to
// them, and waits until s has noticed.
func down(t testing.TB, s *Store, stop func(int), nodes ...int) {
	t.Helper()
	settled(t, s)
	for _, i := range nodes {
		stop(i)
	}
	for _, i := range nodes {
		eventually(t, "the node to be down", func() bool {
			s.Load(t.Context(), newID())
			return !s.c.Status()[i].Up
		})
	}
}

func up(t testing.TB, s *Store, nodes ...int) {
	t.Helper()
	for _, i := range nodes {
		eventually(t, "the node to be back", func() bool { return s.c.Status()[i].Up })
	}
}
