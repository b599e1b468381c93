package redlock_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// keysPage is the tables of docs/keys.md: of each key its type and its TTL, and the channels.
func keysPage(t *testing.T) (keys map[string][2]string, channels []string) {
	t.Helper()
	keys = map[string][2]string{}
	for line := range strings.Lines(harness.ReadFile(t, "docs/keys.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name := strings.Trim(cells[0], "`")
		switch {
		case !strings.HasPrefix(cells[0], "`"):
		case len(cells) == 6:
			keys[name] = [2]string{cells[1], cells[5]}
		case len(cells) == 4:
			channels = append(channels, name)
		}
	}
	return keys, channels
}

// ttls is what the words for a TTL in docs/keys.md come to, from and up to, with the configuration of useEverything.
var ttls = map[string][2]time.Duration{
	"none": {-1, -1},
	"the sum of the lock's TTL, 10 s by default, and `LockDelay`":                                       {5 * time.Second, 10 * time.Second},
	"at least `FenceRetention`, 24 h by default, from the last acquisition, and at most an eighth more": {24 * time.Hour, 27 * time.Hour},
	"that of the lock key":                                                                   {5 * time.Second, 10 * time.Second},
	"that of the reader that expires last":                                                   {5 * time.Second, 10 * time.Second},
	"`MaxTTL` from the last refusal":                                                         {50 * time.Second, time.Minute},
	"`HandOver`, 20 ms by default; up to 500 ms after unused notifications":                  {time.Millisecond, time.Second},
	"7 d (`CheckpointTTL`), of a job 24 h (`DoneTTL`)":                                       {time.Second, 7*24*time.Hour + time.Minute},
	"a minute longer than the record":                                                        {time.Second, 7*24*time.Hour + time.Minute},
	"until an hour after its idle deadline; a tombstone until a day after its last deadline": {time.Hour, (14*24 + 24 + 1) * time.Hour},
	"a day longer than `Lifetime`":                                                           {14 * 24 * time.Hour, 15 * 24 * time.Hour},
	"the sum of the entry's TTL and `StaleFor`":                                              {4 * time.Minute, 6 * time.Minute},
	"`LeaseTTL`, 3 s by default":                                                             {time.Millisecond, 3 * time.Second},
	"that of the entries with the tag":                                                       {4 * time.Minute, 6 * time.Minute},
	"`LoadTimeout` and `LeaseTTL`, and a little more":                                        {5 * time.Second, 15 * time.Second},
}

// examples turns what tests use into what docs/keys.md has for it.
var examples = strings.NewReplacer("election:reports", "order:42", "once:nightly", "order:42")

var process = regexp.MustCompile("wake:[0-9A-Z]{26}")

var hashed = regexp.MustCompile("^session:[0-9A-Za-z_-]{43}$")

// onThePage is what docs/keys.md has for a key or channel.
func onThePage(name string) string {
	if hashed.MatchString(name) {
		return "session:ZSs86XBR…"
	}
	return examples.Replace(name)
}

// TestKeysPage_ListsWhatTheNodesHold uses every package on a node, and finds what docs/keys.md has, and nothing else.
func TestKeysPage_ListsWhatTheNodesHold(t *testing.T) {
	page, channels := keysPage(t)
	nodes := harness.Embedded(t, 1)
	node := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(nodes.URLs()[0], "redis://")})
	defer node.Close()
	seen := map[string]bool{}
	look := func() {
		t.Helper()
		names, err := node.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			stands := onThePage(name)
			want, ok := page[stands]
			if !ok {
				t.Errorf("docs/keys.md lacks %q", name)
				continue
			}
			ttl, kind := node.PTTL(t.Context(), name).Val(), node.Type(t.Context(), name).Val()
			if kind == "none" { // it has expired
				continue
			}
			seen[stands] = true
			bounds, ok := ttls[want[1]]
			if !ok {
				t.Errorf("nobody knows how long %q is", want[1])
			}
			if kind = strings.Replace(kind, "zset", "sorted set", 1); kind != want[0] || ttl < bounds[0] || ttl > bounds[1] {
				t.Errorf("%s is a %s with the TTL %v; docs/keys.md has a %s, and %s", name, kind, ttl, want[0], want[1])
			}
		}
	}
	useEverything(t, nodes, node, look)
	for name := range page {
		if !seen[name] {
			t.Errorf("docs/keys.md has %q, which was not seen", name)
		}
	}
	slices.Sort(channels)
	harness.Eventually(t, fmt.Sprintf("processes are subscribed to %q, and nothing else", channels), func() bool {
		var heard []string
		for _, name := range node.PubSubChannels(t.Context(), "*").Val() {
			heard = append(heard, process.ReplaceAllString(name, "wake:<process>"))
		}
		slices.Sort(heard)
		return slices.Equal(slices.Compact(heard), channels)
	})
}

// useEverything has processes do what leaves keys on a node, and calls look whenever some are there that do not stay.
func useEverything(t *testing.T, nodes harness.Set, node *redis.Client, look func()) {
	t.Helper()
	began := time.Now()
	must := func(err error) { t.Helper(); harness.Must(t, began, err) }
	open := func() *cluster.Cluster {
		c, err := cluster.Open(t.Context(), cluster.Config{URLs: nodes.URLs(), NodeTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		must(err)
		harness.CloseAtEnd(t, c)
		return c
	}
	c := open()
	locker, err := lock.New(c, lock.Config{})
	must(err)
	t.Cleanup(func() { locker.Close(context.Background()) })
	leases, err := lease.New(c, lease.Config{})
	must(err)
	t.Cleanup(func() { leases.Close(context.Background()) })

	// A lock for which another process waits, and one that is woken and does not come.
	must(locker.WithLock(t.Context(), "order:42", func(context.Context) error {
		other, err := lock.New(open(), lock.Config{})
		must(err)
		defer other.Close(context.Background())
		waits, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- other.WithLock(waits, "order:42", func(context.Context) error { return nil }) }()
		harness.Eventually(t, "it waits", func() bool { return node.ZCard(t.Context(), "{lock:order:42}:queue").Val() == 1 })
		look()
		leave()
		<-left
		harness.Eventually(t, "it has left", func() bool { return node.ZCard(t.Context(), "{lock:order:42}:queue").Val() == 0 })
		return nil
	}))
	must(locker.WithLock(t.Context(), "order:42", func(context.Context) error {
		look()
		return nil
	}, lock.Shared()))
	sleeper := node.Subscribe(t.Context(), "redlock:wake:nobody")
	_, err = sleeper.Receive(t.Context())
	must(err)
	red, err := quorumlock.NewRedlock(face.In(c), quorumlock.Config{HandOver: time.Second})
	must(err)
	held, err := red.Acquire(t.Context(), "order:42", quorumlock.Request{})
	must(err)
	must(node.ZAdd(t.Context(), "{lock:order:42}:queue", redis.Z{Score: 1, Member: "nobody"}).Err())
	must(node.Expire(t.Context(), "{lock:order:42}:queue", time.Minute).Err())
	must(held.Release(t.Context()))
	look()
	must(sleeper.Close())
	must(node.Del(t.Context(), "{lock:order:42}:queue", "{lock:order:42}:next").Err())

	// A slot of a key that several can hold.
	slot, err := locker.Lock(t.Context(), "order:42", lock.Limit(4))
	must(err)
	look()
	must(slot.Release(t.Context()))

	// A lease with a checkpoint, an election with an observer, and a job.
	l, err := leases.Acquire(t.Context(), "order:42")
	must(err)
	must(l.Checkpoint(t.Context(), []byte("half")))
	look()
	must(l.Release(t.Context()))
	_, err = leases.Observe(t.Context(), "reports")
	must(err)
	leads, err := leases.Campaign(t.Context(), "reports", "this process")
	must(err)
	look()
	must(leads.Release(t.Context()))
	_, err = leases.RunOnce(t.Context(), "nightly", func(context.Context) error { return nil })
	must(err)
	look()

	// Sessions, one of which ends.
	sessions, err := session.New(c, session.Config{})
	must(err)
	t.Cleanup(func() { sessions.Close() })
	s, err := sessions.Create(t.Context(), "ann", map[string]any{"cart": "book"})
	must(err)
	_, err = sessions.Create(t.Context(), "ann", nil)
	must(err)
	must(sessions.Destroy(t.Context(), s.ID()))
	must(sessions.LogoutAll(t.Context(), "ann", nil))
	look()

	// A cache that also keeps entries in memory.
	entries, err := cache.New(c, cache.Config[string]{Near: &cache.Near{}})
	must(err)
	t.Cleanup(func() { entries.Close(context.Background()) })
	_, err = entries.Fetch(t.Context(), "user:7", func(context.Context) (string, error) { look(); return "Ann", nil }, cache.Tags("team"))
	must(err)
	look()
	must(entries.DeleteTag(t.Context(), "team"))
	look()
}
