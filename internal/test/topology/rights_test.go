package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
)

// needs maps each right, under the default prefix, to the step of workout that fails without it.
var needs = map[string]string{
	"~lock:*":                  "lock",
	"~{lock:*":                 "lock",
	"~redlock:mark":            "open",
	"&redlock:wake:*":          "wake",
	"&redlock:election:lock:*": "observe",
	"+ping":                    "open",
	"+evalsha":                 "lock",
	"+eval":                    "open",
	"+subscribe":               "wake",
	"+publish":                 "wake",
	"+time":                    "check",
	"+get":                     "open",
	"+set":                     "open",
	"+del":                     "lock",
	"+exists":                  "lock",
	"+pexpire":                 "transact",
	"+pttl":                    "refuse",
	"+zadd":                    "wake",
	"+zcard":                   "refuse",
	"+zrange":                  "refuse",
	"+zrem":                    "wake",
	"+hset":                    "checkpoint",
	"+hmget":                   "checkpoint",
	"+hdel":                    "slots",
	"+cluster|slots":           "open",
	"+multi":                   "transact",
	"+exec":                    "transact",
	"+msetnx":                  "transact",
	"+incrby":                  "transact",
	"+info":                    "check",
	"+config|get":              "check",
	"+acl|dryrun":              "check",
	"+script|exists":           "load scripts ahead",
	"+script|load":             "load scripts ahead",
}

// The rights in cluster.Rights are sufficient, and each is necessary.
func TestRights_AreEnoughAndEachIsNeeded(t *testing.T) {
	t.Parallel()
	needReal(t)
	all := strings.Fields(cluster.ACL("", false))
	for rule := range needs {
		if !slices.Contains(all, rule) {
			t.Errorf("%s is not among the rights", rule)
		}
	}
	t.Run("with all of them", func(t *testing.T) {
		t.Parallel()
		for _, many := range []bool{false, true} {
			began := time.Now()
			if step, err := newGym(t, all, many).workout(""); err != nil {
				harness.Must(t, began, fmt.Errorf("on a Redis Cluster: %t; %s: %w", many, step, err))
			}
		}
	})
	t.Run("without the optional ones", func(t *testing.T) {
		t.Parallel()
		g := newGym(t, strings.Fields(cluster.ACL("", true)), false)
		g.lenient = true
		began := time.Now()
		if step, err := g.workout(""); err != nil {
			harness.Must(t, began, fmt.Errorf("%s: %w", step, err))
		}
	})
	t.Run("without +time, unchecked", func(t *testing.T) {
		t.Parallel()
		rules := slices.DeleteFunc(slices.Clone(all), func(rule string) bool { return rule == "+time" })
		g := newGym(t, rules, false)
		g.lenient = true
		if step, err := g.workout("lock"); step != "lock" || err == nil {
			t.Errorf("it fails at the step %q, want lock: %v", step, err)
		}
		g.nothingHalfDone()
	})
	for i, rule := range all {
		t.Run("without "+rule, func(t *testing.T) {
			t.Parallel()
			g := newGym(t, slices.Delete(slices.Clone(all), i, i+1), rule == "+cluster|slots")
			began := time.Now()
			step, err := g.workout(needs[rule])
			if err != nil && step != needs[rule] {
				harness.Must(t, began, fmt.Errorf("it fails at the step %q, want %q: %w", step, needs[rule], err))
			}
			if err == nil {
				t.Errorf("nothing fails, want the step %q to", needs[rule])
			}
			t.Logf("%s: %v", step, err)
			g.nothingHalfDone()
		})
	}
}

// gym is one node with a restricted user, on which workout runs.
type gym struct {
	t       *testing.T
	url     string
	admin   *redis.Client
	lenient bool // skips what needs the optional rights
}

func newGym(t *testing.T, rules []string, many bool) *gym {
	t.Helper()
	o := redisserver.Options{Persist: true, Args: append([]string{"--appendfsync", "always"}, asUser(rules)...)}
	if many {
		s, err := redisserver.StartSharded(1, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return &gym{t: t, url: withUser(t, s.URL()), admin: client(t, s.URLs()[0])}
	}
	s := harness.Real(t, 1, o)
	return &gym{t: t, url: withUser(t, s.URLs()[0]), admin: client(t, s.URLs()[0])}
}

func (g *gym) open(ctx context.Context) (*cluster.Cluster, error) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: []string{g.url}, NodeTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		g.t.Cleanup(func() { closes(g.t, c.Close) })
	}
	return c, err
}

// nothingHalfDone checks that no refusal stopped a script after a write: every key except the mark has a TTL, and every
// fence counter was initialized from the clock.
func (g *gym) nothingHalfDone() {
	g.t.Helper()
	ctx := g.t.Context()
	keys, err := g.admin.Keys(ctx, "*").Result()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, key := range keys {
		const forever = -1
		if left := g.admin.PTTL(ctx, key).Val(); left == forever && !strings.HasPrefix(key, "redlock:") {
			g.t.Errorf("%s has no TTL", key)
		}
		if strings.HasSuffix(key, ":fence") {
			if fence, err := g.admin.Get(ctx, key).Int64(); err != nil || fence < 1e15 {
				g.t.Errorf("%s is %d (%v), which is not a time in µs", key, fence, err)
			}
		}
	}
}

// workout runs every step, and returns the first that fails. The step in fails has little time, because some steps fail
// by waiting without success.
func (g *gym) workout(fails string) (step string, err error) {
	var c, other *cluster.Cluster
	var leases, others *lease.Leases
	for _, s := range []struct {
		name string
		take func(ctx context.Context) error
	}{
		{"open", func(ctx context.Context) (err error) {
			if c, err = g.open(ctx); err == nil {
				other, err = g.open(ctx)
			}
			return err
		}},
		{"check", func(ctx context.Context) error { return g.check(ctx, c) }},
		{"load scripts ahead", func(ctx context.Context) error { return g.loaded(ctx) }},
		{"lock", func(ctx context.Context) (err error) {
			leases, others = g.leases(c), g.leases(other)
			for _, key := range []string{"plain", "with {a} tag"} {
				l, err := face.In(leases).Try(ctx, key, keepalive.Request{})
				if err == nil {
					err = l.Release(ctx)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"transact", func(ctx context.Context) error { return g.transact(ctx, c) }},
		{"extend", func(ctx context.Context) error {
			m, err := mutex.New(c, "by hand", mutex.Config{})
			if err != nil {
				return err
			}
			return errors.Join(m.TryLock(ctx), m.Extend(ctx), m.Unlock(ctx))
		}},
		{"refuse", func(ctx context.Context) error {
			m, err := mutex.New(c, "refused", mutex.Config{})
			if err != nil {
				return err
			}
			if err := m.TryLock(ctx); err != nil {
				return err
			}
			if _, err := face.In(others).Try(ctx, "refused", keepalive.Request{}); !errors.Is(err, lease.ErrNotAcquired) {
				return fmt.Errorf("not refused: %w", err)
			}
			return m.Unlock(ctx)
		}},
		{"wake", func(ctx context.Context) error { return g.wake(ctx, leases, others) }},
		{"pass on a turn", func(ctx context.Context) error { return g.passOn(ctx, c) }},
		{"checkpoint", func(ctx context.Context) error { return g.checkpoint(ctx, leases, others) }},
		{"slots", func(ctx context.Context) error { return slots(ctx, c) }},
		{"move", func(ctx context.Context) error {
			l, err := face.In(leases).Try(ctx, "moves", keepalive.Request{})
			if err != nil {
				return err
			}
			handle, err := l.Detach(ctx)
			if err != nil {
				return err
			}
			moved, err := others.Attach(ctx, lease.Handle(handle))
			if err != nil {
				return err
			}
			return moved.Release(ctx)
		}},
		{"observe", func(ctx context.Context) error { return g.observe(ctx, leases, others) }},
		{"lock on a server that lost its scripts", func(ctx context.Context) error {
			if err := g.admin.ScriptFlush(ctx).Err(); err != nil {
				return err
			}
			l, err := face.In(leases).Try(ctx, "flushed", keepalive.Request{})
			if err != nil {
				return err
			}
			return l.Release(ctx)
		}},
		{"redsync", func(ctx context.Context) error {
			m := mutex.Redsync(c).NewMutex("lock:sync", redsync.WithTries(1))
			if err := m.LockContext(ctx); err != nil {
				return err
			}
			_, extend := m.ExtendContext(ctx)
			_, unlock := m.UnlockContext(ctx)
			return errors.Join(extend, unlock)
		}},
	} {
		bound := patience
		if s.name == fails {
			bound = 2 * time.Second
		}
		ctx, cancel := context.WithTimeout(g.t.Context(), bound)
		err := s.take(ctx)
		cancel()
		if err != nil {
			return s.name, err
		}
	}
	return "", nil
}

// leases returns Leases that never ask for a key again without a message.
func (g *gym) leases(c *cluster.Cluster) *lease.Leases {
	s, err := lease.New(c, deaf(lease.Config{TTL: longTTL}))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { closes(g.t, s.Close) })
	return s
}

// check returns the findings of Check that the right rights would fix.
func (g *gym) check(ctx context.Context, c *cluster.Cluster) error {
	for _, f := range c.Check(ctx) {
		if f.Node != "" && strings.Contains(f.Fix, "this user") {
			if g.lenient {
				continue
			}
			return errors.New(f.String())
		}
	}
	return nil
}

// transact acquires a key twice, the second time by a transaction. The key's counter is above the floor of a new node.
func (g *gym) transact(ctx context.Context, c *cluster.Cluster) error {
	n := face.In(c).Nodes()[0]
	if g.lenient || n.Sharded() {
		return nil
	}
	counter := strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10)
	if err := g.admin.Set(ctx, "{lock:transacted}:fence", counter, time.Hour).Err(); err != nil {
		return err
	}
	red, err := quorumlock.NewRedlock(face.In(c), quorumlock.Config{})
	for i := 0; i < 2 && err == nil; i++ {
		var h *quorumlock.Hold
		if h, err = red.Acquire(ctx, "transacted", quorumlock.Request{First: true}); err == nil {
			err = h.Release(ctx)
		}
	}
	if err == nil && !n.Transacts() {
		err = errors.New("transactions are refused")
	}
	return err
}

// slots has two slots of a key with a limit at once.
func slots(ctx context.Context, c *cluster.Cluster) error {
	red, err := quorumlock.NewRedlock(face.In(c), quorumlock.Config{})
	if err != nil {
		return err
	}
	var holds []*quorumlock.Hold
	for range 2 {
		h, err := red.Acquire(ctx, "slots", quorumlock.Request{Limit: 2})
		if err != nil {
			return err
		}
		holds = append(holds, h)
	}
	return errors.Join(holds[0].ExtendNow(ctx, holds[0].TTL()), holds[0].Release(ctx), holds[1].Release(ctx))
}

func (g *gym) loaded(ctx context.Context) error {
	text, err := g.admin.Info(ctx, "memory").Result()
	if err == nil && !g.lenient && strings.Contains(text, "number_of_cached_scripts:1\r\n") { // the script that writes the mark
		return errors.New("no script was loaded before it was needed")
	}
	return err
}

func (g *gym) wake(ctx context.Context, leases, others *lease.Leases) error {
	l, err := face.In(leases).Try(ctx, "woken", keepalive.Request{})
	if err != nil {
		return err
	}
	got := make(chan error, 1)
	go func() {
		next, err := face.In(others).Await(ctx, "woken", keepalive.Request{})
		if err == nil {
			err = next.Release(ctx)
		}
		got <- err
	}()
	for queued := int64(0); queued == 0 && ctx.Err() == nil && len(got) == 0; {
		queued, _ = g.admin.ZCard(ctx, "{lock:woken}:queue").Result()
	}
	return errors.Join(l.Release(context.WithoutCancel(ctx)), <-got)
}

// passOn leaves a wait queue with another waiter after this process was notified that it is first.
func (g *gym) passOn(ctx context.Context, c *cluster.Cluster) error {
	sub := g.admin.Subscribe(ctx, nodeset.Channel("another"))
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		return err
	}
	red, err := quorumlock.NewRedlock(face.In(c), quorumlock.Config{})
	if err != nil {
		return err
	}
	select { // only subscribed processes enter wait queues
	case <-face.In(c).Listen(deafEar{}):
	case <-ctx.Done():
		return ctx.Err()
	}
	err = errors.Join(g.admin.ZAdd(ctx, "{lock:left}:queue", redis.Z{Score: 1, Member: "another"}).Err(),
		g.admin.Expire(ctx, "{lock:left}:queue", time.Minute).Err(),
		g.admin.Set(ctx, "{lock:left}:next", face.In(c).Process(), time.Minute).Err())
	if err != nil {
		return err
	}
	red.LeaveLock(red.LockKey("left"))
	_, err = sub.ReceiveMessage(ctx)
	return err
}

// deafEar is a listener that ignores all messages.
type deafEar struct{}

func (deafEar) Message(*nodeset.Node, string) bool { return false }
func (deafEar) Unclaimed(*nodeset.Node, string)    {}
func (deafEar) Gap(*nodeset.Node)                  {}

func (g *gym) checkpoint(ctx context.Context, leases, others *lease.Leases) error {
	l, err := leases.TryAcquire(ctx, "job")
	if err != nil {
		return err
	}
	if err := errors.Join(l.Checkpoint(ctx, []byte("half")), l.Release(ctx)); err != nil {
		return err
	}
	next, err := others.TryAcquire(ctx, "job")
	if err != nil {
		return err
	}
	if data, _, ok := next.LastCheckpoint(); string(data) != "half" || !ok {
		return fmt.Errorf("found the checkpoint %q, %t", data, ok)
	}
	return next.Release(ctx)
}

func (g *gym) observe(ctx context.Context, leases, others *lease.Leases) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leaders, err := others.Observe(ctx, "chief")
	if err != nil {
		return err
	}
	if first := <-leaders; first.Candidate != "" { // later leaders are reported by messages
		return fmt.Errorf("%q leads", first.Candidate)
	}
	l, err := leases.Campaign(ctx, "chief", "one")
	if err != nil {
		return err
	}
	defer l.Release(context.WithoutCancel(ctx))
	for seen := range leaders {
		if seen.Candidate == "one" {
			return nil
		}
	}
	return errors.New("the leader was not heard of")
}

// If a right is removed while processes run, the error names it and the nodes that removed it.
func TestRights_OneTakenAwayIsNamed(t *testing.T) {
	t.Parallel()
	f := startRestricted(t)
	c, _, k := f.process(t, lease.Config{})
	work := func(context.Context) error { return nil }
	if err := f.admins[0].Do(t.Context(), "acl", "setuser", user, "-set").Err(); err != nil {
		t.Fatal(err)
	}
	if err := k.WithLock(t.Context(), "a", work, lock.Wait(patience)); err != nil {
		t.Errorf("with one node of three that refuses: %v", err)
	}
	if err := f.admins[1].Do(t.Context(), "acl", "setuser", user, "-set").Err(); err != nil {
		t.Fatal(err)
	}
	err := k.WithLock(t.Context(), "a", work, lock.NoWait()) // the text of a refusal within a script depends on the version
	for _, want := range []string{"user", "node " + face.In(c).Nodes()[0].Name(), "node " + face.In(c).Nodes()[1].Name()} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), password) {
			t.Errorf("with two: %v, want an error that says %q", err, want)
		}
	}
	for _, admin := range f.admins[:2] {
		if err := admin.Do(t.Context(), "acl", "setuser", user, "+set").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.WithLock(t.Context(), "a", work, lock.Wait(patience)); err != nil {
		t.Errorf("with none: %v", err)
	}
}
