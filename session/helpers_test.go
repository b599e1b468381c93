package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodetest"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, nodes nodetest.Set, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	cfg.NodeTimeout = cmp.Or(cfg.NodeTimeout, 15*time.Second)
	cfg.URLs, cfg.Logger = nodes.URLs(), slog.New(slog.DiscardHandler)
	c, err := cluster.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// store is a process of its own.
func store(t testing.TB, nodes nodetest.Set, cfg Config) *Store {
	t.Helper()
	s, err := New(open(t, nodes, cluster.Config{}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hasty is a process that soon takes a node for down.
func hasty(t testing.TB, nodes nodetest.Set, cfg Config) *Store {
	t.Helper()
	s, err := New(open(t, nodes, cluster.Config{NodeTimeout: time.Second}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// locking is a process with locks.
func locking(t testing.TB, nodes nodetest.Set, cfg Config) *Store {
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

// has fails unless the field has this value.
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

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	over := time.After(20 * time.Second)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-over:
			t.Fatal("in vain: waited for ", what)
		}
	}
}

// down stops nodes and waits until s has noticed.
func down(t testing.TB, s *Store, stop func(int), nodes ...int) {
	t.Helper()
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
