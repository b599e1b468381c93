package topology

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) {
	logging.Disable() // it would report every dial of a node that is down
	harness.Main(m)
}

const (
	// patience bounds a call that must succeed.
	patience = 2 * harness.Patience
	// nodeCount is how many nodes a set has.
	nodeCount = 3
	// nodeTimeout leaves room for many processes on few processors.
	nodeTimeout = 1900 * time.Millisecond
)

// fleet is a set of nodes of one kind.
type fleet struct {
	config    cluster.Config  // by which a process reaches the nodes
	admins    []*redis.Client // of every server that takes commands, with all rights
	isCluster bool            // each node is a Redis Cluster
}

// kinds are the kinds of node, with a function that starts a set of each.
var kinds = []struct {
	name  string
	start func(t *testing.T) *fleet
}{
	{"Sentinel", func(t *testing.T) *fleet { f, _ := startPairs(t); return f }},
	{"RedisCluster", func(t *testing.T) *fleet { f, _ := startSharded(t, redisserver.Options{}); return f }},
	{"TLS", func(t *testing.T) *fleet { f, _ := startTLS(t); return f }},
	{"ACL", startRestricted},
}

// needReal skips the test if real nodes are not available or excluded.
func needReal(t *testing.T) {
	t.Helper()
	harness.Real(t, 1, redisserver.Options{}).Close()
}

// together starts n nodes concurrently, because each start is mostly waiting.
func together[T any](t *testing.T, n int, start func() (T, error)) []T {
	t.Helper()
	nodes, errs := make([]T, n), make(chan error, n)
	for i := range n {
		go func() {
			var err error
			nodes[i], err = start()
			errs <- err
		}()
	}
	var failed error
	for range n {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
	return nodes
}

func startPairs(t *testing.T) (*fleet, []*redisserver.Pair) {
	t.Helper()
	needReal(t)
	f := &fleet{}
	pairs := together(t, nodeCount, func() (*redisserver.Pair, error) {
		p, err := redisserver.StartPair()
		if err == nil {
			t.Cleanup(p.Close)
		}
		return p, err
	})
	for _, p := range pairs {
		f.config.URLs = append(f.config.URLs, p.URL())
		f.admins = append(f.admins, client(t, p.Servers()[0]))
	}
	return f, pairs
}

func startSharded(t *testing.T, o redisserver.Options) (*fleet, []*redisserver.Sharded) {
	t.Helper()
	needReal(t)
	f := &fleet{isCluster: true}
	all := together(t, nodeCount, func() (*redisserver.Sharded, error) {
		s, err := redisserver.StartSharded(3, o)
		if err == nil {
			t.Cleanup(s.Close)
		}
		return s, err
	})
	for _, s := range all {
		f.config.URLs = append(f.config.URLs, s.URL())
		for _, u := range s.URLs() {
			f.admins = append(f.admins, client(t, u))
		}
	}
	return f, all
}

// user is the user of the processes on restricted nodes.
const user, password = "redlock", "let-me-in"

// asUser returns arguments with which a server creates the user with these rules of ACL SETUSER.
func asUser(rules []string) []string {
	return append([]string{"--user", user, "reset", "on", ">" + password}, rules...)
}

// withUser returns a server's URL with the user's name and password.
func withUser(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func startRestricted(t *testing.T) *fleet {
	t.Helper()
	s := harness.Real(t, nodeCount, redisserver.Options{Args: asUser(strings.Fields(cluster.ACL("", true)))})
	f := &fleet{}
	for _, u := range s.URLs() {
		f.config.URLs = append(f.config.URLs, withUser(t, u))
		f.admins = append(f.admins, client(t, u))
	}
	return f
}

// client returns a client of the server at raw with all rights.
func client(t *testing.T, raw string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return adminOf(t, o)
}

func adminOf(t *testing.T, o *redis.Options) *redis.Client {
	t.Helper()
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// process opens the Cluster, Leases and Locker of one process, and waits until all nodes vote.
func (f *fleet) process(t *testing.T, cfg lease.Config) (*cluster.Cluster, *lease.Leases, *lock.Locker) {
	t.Helper()
	conf := f.config
	conf.NodeTimeout, conf.Logger = cmp.Or(conf.NodeTimeout, nodeTimeout), slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := cluster.Open(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, c.Close) })
	harness.Eventually(t, "all nodes to be up and vote", func() bool {
		for _, s := range c.Status() {
			if !s.Up || !s.Votes {
				return false
			}
		}
		return true
	})
	cfg.TTL = cmp.Or(cfg.TTL, 2*harness.Patience) // no key expires while a test waits for its deletion
	leases, err := lease.New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, leases.Close) })
	locker, err := lock.New(c, lock.Config(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, locker.Close) })
	return c, leases, locker
}

func closes(t *testing.T, close func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// keys returns the keys on all servers that match a pattern.
func (f *fleet) keys(t *testing.T, pattern string) []string {
	t.Helper()
	var all []string
	for _, c := range f.admins {
		keys, err := c.Keys(t.Context(), pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys...)
	}
	return all
}

// free waits until no server has the lock key, and checks that all its companions expire: an entry in the wait queue of
// a node that was not reached lives for MaxTTL.
func (f *fleet) free(t *testing.T, key string) {
	t.Helper()
	harness.Eventually(t, "the lock on "+key+" to be gone", func() bool { return len(f.keys(t, "lock:"+key)) == 0 })
	for _, c := range f.admins {
		for _, left := range c.Keys(t.Context(), "*lock:"+key+"*").Val() {
			if ttl := c.PTTL(t.Context(), left).Val(); ttl == -1 {
				t.Errorf("%s never expires", left)
			}
		}
	}
}
