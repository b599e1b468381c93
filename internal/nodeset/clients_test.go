package nodeset

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestClients_AreCopiedAndLeftAlone(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		var hooked atomic.Int32
		clients := map[string]redis.UniversalClient{}
		before := map[string]redis.Options{}
		for i, name := range []string{"b", "a"} {
			o, err := redis.ParseURL(s.URLs()[i])
			if err != nil {
				t.Fatal(err)
			}
			o.MaxRetries, o.ReadTimeout = 7, time.Hour
			o.OnConnect = func(context.Context, *redis.Conn) error { hooked.Add(1); return nil }
			c := redis.NewClient(o)
			t.Cleanup(func() { c.Close() })
			clients[name], before[name] = c, *c.Options()
		}
		c := mustOpen(t, Config{Clients: clients})
		if got := []string{c.Nodes()[0].Name(), c.Nodes()[1].Name()}; !reflect.DeepEqual(got, []string{"a", "b"}) {
			t.Errorf("nodes are %v, want them in the order of their names", got)
		}
		for _, n := range c.Nodes() {
			ran(t, n, pingScript, nil)
			o := n.client.(*redis.Client).Options()
			if o.MaxRetries > 0 || o.ReadTimeout != c.Config().NodeTimeout {
				t.Errorf("node %s has %d retries, read time-out %v", n.Name(), o.MaxRetries, o.ReadTimeout)
			}
		}
		if hooked.Load() == 0 {
			t.Error("the OnConnect of the given client does not run")
		}
		shut(t, c)
		for name, client := range clients {
			if err := client.Ping(t.Context()).Err(); err != nil {
				t.Errorf("after Close, client %s: %v", name, err)
			}
			now := *client.(*redis.Client).Options()
			if now.MaxRetries != before[name].MaxRetries || now.ReadTimeout != time.Hour || now.PoolSize != before[name].PoolSize ||
				now.DialTimeout != before[name].DialTimeout || now.ContextTimeoutEnabled || now.Dialer == nil ||
				reflect.ValueOf(now.OnConnect).Pointer() != reflect.ValueOf(before[name].OnConnect).Pointer() {
				t.Errorf("the options of client %s were changed", name)
			}
		}
	})
}

func TestClients_AHookThatFailsKeepsTheNodeDown(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	o, err := redis.ParseURL(s.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("not this one")
	o.OnConnect = func(context.Context, *redis.Conn) error { return no }
	given := redis.NewClient(o)
	defer given.Close()
	began := time.Now()
	_, err = Open(t.Context(), Config{Logger: quiet, Clients: map[string]redis.UniversalClient{"a": given}, NodeTimeout: 500 * time.Millisecond})
	if !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Open = %v", err)
	}
	if !errors.Is(err, no) { // the node may also be too slow for the hook to run
		harness.Must(t, began, err)
		t.Errorf("Open = %v", err)
	}
}

func TestClients_ThatCannotBeUsedAreRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"x": "127.0.0.1:1"}})
	defer ring.Close()
	_, err := tryOpen(t, Config{Clients: map[string]redis.UniversalClient{
		"none": nil, "nil": (*redis.Client)(nil), "nil cluster": (*redis.ClusterClient)(nil), "ring": ring,
	}})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("Open = %v", err)
	}
	for _, want := range []string{
		`Config.Clients["none"]: nil client`, `Config.Clients["nil"]: nil client`,
		`Config.Clients["nil cluster"]: nil client`, `Config.Clients["ring"]: *redis.Ring cannot be used`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// A Redis Cluster of two servers is one node.
func TestRedisCluster_IsOneNode(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 2, redisserver.Options{Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000"}})
	ctx := t.Context()
	one, two := harness.Client(t, s, 0), harness.Client(t, s, 1)
	for i, err := range []error{
		one.ClusterAddSlotsRange(ctx, 0, 8191).Err(), two.ClusterAddSlotsRange(ctx, 8192, 16383).Err(),
		two.Do(ctx, "cluster", "set-config-epoch", 2).Err(),
	} {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	host, port, _ := strings.Cut(hostOf(t, s.URLs()[0]), ":")
	if err := two.ClusterMeet(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the servers to know each other", func() bool {
		return strings.Contains(one.ClusterInfo(ctx).Val(), "cluster_state:ok") && strings.Contains(two.ClusterInfo(ctx).Val(), "cluster_state:ok") &&
			strings.Contains(one.ClusterInfo(ctx).Val(), "cluster_known_nodes:2")
	})
	c := mustOpen(t, Config{URLs: []string{s.URLs()[0] + "?addr=" + hostOf(t, s.URLs()[1])}})
	n := c.Nodes()[0]
	if !n.Sharded() {
		t.Error("it is not sharded")
	}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} { // on both servers
		ran(t, n, setScript, []string{key}, "x")
	}
	if len(one.Keys(ctx, "?").Val()) == 0 || len(two.Keys(ctx, "?").Val()) == 0 {
		t.Error("all keys are on one server")
	}
	if !n.Votes() {
		t.Error("a new Redis Cluster does not vote: the server that was used second was taken for a stand-in")
	}
	if !strings.Contains(findings(c.Check(ctx)), "is a Redis Cluster") {
		t.Error("Check does not speak of it")
	}
}
