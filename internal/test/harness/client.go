package harness

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/internal/marks"
)

// Client returns a plain client of node i, closed at the end of the test, to
// look at what is on the node. It never sends a command twice. It does not check
// the certificate of a node that speaks TLS.
func Client(t testing.TB, s Set, i int) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(s.URLs()[i])
	if err != nil {
		t.Fatalf("the URL of node %d: %v", i, err)
	}
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = Patience/3, Patience/3, Patience/3
	o.DisableIdentity = true
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.TLSConfig != nil {
		o.TLSConfig.InsecureSkipVerify = true
	}
	c := redis.NewClient(o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the client of node %d: %v", i, err)
		}
	})
	return c
}

// Keys returns the keys on node i, sorted, without the mark that every node has.
func Keys(t testing.TB, s Set, i int) []string {
	t.Helper()
	c := Client(t, s, i)
	keys := []string{}
	it := c.Scan(t.Context(), 0, "*", 1000).Iterator()
	for it.Next(t.Context()) {
		if it.Val() != marks.Key {
			keys = append(keys, it.Val())
		}
	}
	if err := it.Err(); err != nil {
		t.Fatalf("SCAN on node %d: %v", i, err)
	}
	slices.Sort(keys)
	return slices.Compact(keys) // SCAN may return a key twice
}

// Flush deletes all keys of a node except its mark, as if they had been
// evicted: a loss of data that its clients cannot notice.
func Flush(c *redis.Client) error {
	ctx := context.Background()
	text, err := c.Get(ctx, marks.Key).Result()
	if err != nil {
		return c.FlushAll(ctx).Err() // the node has no mark
	}
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.FlushAll(ctx)
		p.Set(ctx, marks.Key, text, 0)
		return nil
	})
	return err
}
