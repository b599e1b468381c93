package health_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/health"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are cut off all the time here
	harness.Main(m)
}

const grace = 10 * time.Second

// rig is three nodes in the virtual time of a bubble, and a process that uses
// them.
type rig struct {
	*testing.T
	nodes  []*miniredis.Miniredis
	cut    [3]atomic.Bool
	c      *cluster.Cluster
	locker *lock.Locker
}

// virtually runs fn on a rig. Timers belong to the time they were made in, and
// go-redis keeps used ones in pools of the whole process.
func virtually(t *testing.T, fn func(r *rig)) {
	empty := func() { runtime.GC(); runtime.GC() }
	empty()
	defer empty()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Hour) }) // what is on its way arrives
		r := &rig{T: t}
		clients := map[string]redis.UniversalClient{}
		for i := range r.cut {
			node := miniredis.NewMiniRedis()
			node.ClockTTL(true)
			t.Cleanup(node.Close)
			r.nodes = append(r.nodes, node)
			clients[fmt.Sprint("node", i)] = redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: func(context.Context, string, string) (net.Conn, error) {
				if r.cut[i].Load() {
					return nil, errors.New("cut off")
				}
				conn, err := node.Dial()
				return &cutConn{Conn: conn, cut: &r.cut[i]}, err
			}})
		}
		var err error
		if r.c, err = cluster.Open(t.Context(), cluster.Config{Clients: clients, Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		if r.locker, err = lock.New(r.c, lock.Config{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for i := range r.cut {
				r.cut[i].Store(false)
			}
			r.locker.Close(context.Background())
			r.c.Close(context.Background())
			for _, client := range clients {
				client.Close()
			}
		})
		fn(r)
	})
}

// cutConn fails once its node is cut off.
type cutConn struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.cut.Load() {
		c.Close()
	}
	return c.Conn.Write(p)
}

// lock takes a lock, and returns what that failed with.
func (r *rig) lock() error {
	return r.locker.WithLock(r.Context(), "order", func(context.Context) error { return nil }, lock.NoWait())
}

// ready is what a load balancer learns.
func (r *rig) ready(h http.Handler) (ok bool, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code == http.StatusOK, w.Body.String()
}

// stays asks every 100 ms for d whether the program is ready.
func (r *rig) stays(want bool, d time.Duration, while string) {
	r.Helper()
	h := health.Handler(r.c, grace)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok, body := r.ready(h); ok != want {
			r.Fatalf("ready is %t %s: %s", ok, while, body)
		}
	}
}

func TestHandler_FailsOnlyOnceNothingCouldBeLockedForTheGrace(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		r.stays(true, time.Minute, "with all nodes")
		r.cut[0].Store(true)
		if err := r.lock(); err != nil {
			t.Fatal(err)
		}
		r.stays(true, time.Minute, "with two of three")
		r.cut[1].Store(true)
		if err := r.lock(); !errors.Is(err, cluster.ErrNoQuorum) {
			t.Fatalf("one of three locked: %v", err)
		}
		r.stays(true, grace-time.Second, "within the grace")
		if h := r.c.Health(); h.Err == nil || h.Spare != -1 || h.Since.IsZero() {
			t.Errorf("health is %+v", h)
		}
		time.Sleep(2 * time.Second)
		r.stays(false, time.Minute, "after the grace")
		if _, body := r.ready(health.Handler(r.c, grace)); !strings.Contains(body, "no quorum") || !strings.Contains(body, "node1") {
			t.Errorf("it does not say why: %s", body)
		}
		r.cut[1].Store(false)
		time.Sleep(2 * time.Second) // until the next probe
		r.stays(true, time.Minute, "with a quorum again")
		if h := r.c.Health(); h.Err != nil || !h.Since.IsZero() || h.Spare != 0 {
			t.Errorf("health is %+v", h)
		}
	})
}

// Outages that are each shorter than the grace do not add up.
func TestHandler_ShortOutagesDoNotAddUp(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		for range 5 {
			r.cut[0].Store(true)
			r.cut[1].Store(true)
			if err := r.lock(); !errors.Is(err, cluster.ErrNoQuorum) {
				t.Fatalf("one of three locked: %v", err)
			}
			r.stays(true, grace-time.Second, "in a short outage")
			r.cut[0].Store(false)
			r.cut[1].Store(false)
			time.Sleep(2 * time.Second)
			if err := r.lock(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// An outage is noticed when it begins, not when somebody asks.
func TestHandler_AnOutageCountsFromItsBeginning(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		r.cut[0].Store(true)
		r.cut[1].Store(true)
		if err := r.lock(); !errors.Is(err, cluster.ErrNoQuorum) {
			t.Fatalf("one of three locked: %v", err)
		}
		time.Sleep(2 * time.Minute) // the attempt does not count any more
		if ok, body := r.ready(health.Handler(r.c, grace)); ok {
			t.Errorf("ready two minutes into an outage: %s", body)
		}
	})
}

// Renewals that miss a node, or all of them once, change nothing.
func TestHandler_SlowRenewalsChangeNothing(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		h := health.Handler(r.c, 0)
		err := r.locker.WithLock(t.Context(), "order", func(ctx context.Context) error {
			for i := range 9 {
				r.cut[i%3].Store(true)
				time.Sleep(time.Second)
				if ok, body := r.ready(h); !ok {
					t.Errorf("not ready with one node cut off: %s", body)
				}
				r.cut[i%3].Store(false)
				time.Sleep(3 * time.Second)
			}
			return context.Cause(ctx)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Nodes that are up and refuse every write lock nothing either.
func TestHandler_FailsWhereUpNodesGrantNothing(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		for _, node := range r.nodes {
			node.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				refused := strings.HasPrefix(cmd, "EVAL")
				if refused {
					c.WriteError("OOM command not allowed when used memory > 'maxmemory'.")
				}
				return refused
			})
		}
		h := health.Handler(r.c, grace)
		for range 8 {
			if err := r.lock(); !errors.Is(err, cluster.ErrNoQuorum) {
				t.Fatalf("a full node granted: %v", err)
			}
			if ok, body := r.ready(h); !ok {
				t.Fatalf("not ready within the grace: %s", body)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		if err := r.lock(); err == nil {
			t.Fatal("a full node granted")
		}
		if h := r.c.Health(); h.Spare != 1 {
			t.Fatalf("the nodes are not up: %+v", h)
		}
		if ok, _ := r.ready(h); ok {
			t.Error("ready though every attempt was refused for longer than the grace")
		}
		for _, node := range r.nodes {
			node.Server().SetPreHook(nil)
		}
		time.Sleep(2 * time.Second)
		if err := r.lock(); err != nil {
			t.Fatal(err)
		}
		if ok, body := r.ready(h); !ok {
			t.Errorf("not ready after a lock was granted: %s", body)
		}
	})
}

func TestHandler_FailsAfterClose(t *testing.T) {
	virtually(t, func(r *rig) {
		t := r.T
		if err := r.locker.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, body := r.ready(health.Handler(r.c, time.Hour)); ok || !strings.Contains(body, "closed") {
			t.Errorf("ready is %t: %s", ok, body)
		}
		if ok, _ := r.ready(health.Handler(nil, time.Hour)); ok {
			t.Error("a program without a Cluster is ready")
		}
	})
}
