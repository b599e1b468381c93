//lint:file-ignore SA1019 code that uses redsync calls Valid, so it has to work
//lint:file-ignore SA1012 redsync's own adapter takes a nil context

package mutex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// plain is redsync as everybody else uses it: on clients of its own.
func (r *rig) plain() *redsync.Redsync {
	var pools []redsyncredis.Pool
	for _, c := range r.Clients {
		pools = append(pools, goredis.NewPool(c))
	}
	return redsync.New(pools...)
}

// party is one way to lock.
type party struct {
	name   string
	lock   func() (unlock func() error, err error)
	refuse func(error) bool // whether an error of lock says that another has the key
}

func redsyncParty(name string, rs *redsync.Redsync) party {
	return party{name, func() (func() error, error) {
		m := rs.NewMutex("lock:k", redsync.WithExpiry(30*time.Second))
		if err := m.TryLock(); err != nil {
			return nil, err
		}
		return func() error {
			if ok, err := m.Unlock(); !ok || err != nil {
				return fmt.Errorf("unlock: %t, %w", ok, err)
			}
			return nil
		}, nil
	}, func(err error) bool {
		var taken *redsync.ErrTaken
		return errors.As(err, &taken)
	}}
}

func redlockParty(red *quorumlock.Redlock) party {
	return party{"Redlock", func() (func() error, error) {
		h, err := red.Acquire(context.Background(), "k", quorumlock.Request{TTL: 30 * time.Second})
		if err != nil {
			return nil, err
		}
		return func() error { return h.Release(context.Background()) }, nil
	}, func(err error) bool { return errors.Is(err, ErrNotAcquired) }}
}

func TestRedsync_Lock_ExcludesLocksAndOtherRedsyncs(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		r.warm(c)
		parties := []party{
			redlockParty(r.redlock(c)), redsyncParty("Redsync(c)", Redsync(c)),
			redsyncParty("Redsync of another process", Redsync(r.open())), redsyncParty("redsync", r.plain()),
		}
		for _, holder := range parties {
			for _, other := range parties {
				unlock, err := holder.lock()
				if err != nil {
					must(t, fmt.Errorf("%s locks a free key: %w", holder.name, err))
				}
				if _, err := other.lock(); !other.refuse(err) {
					t.Errorf("%s locks what %s holds: %v", other.name, holder.name, err)
				}
				if err := unlock(); err != nil {
					must(t, fmt.Errorf("%s unlocks: %w", holder.name, err))
				}
				harness.Eventually(t, "the key is free", func() bool { return len(r.Having("lock:k")) == 0 })
			}
		}
	})
}

func TestRedsync_Lock_RaisesFenceCounters(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c)
		rs := Redsync(c).NewMutex("lock:k")
		var last int64
		for range 8 {
			h := acquireEverywhere(t, red, quorumlock.Request{})
			if h.Token() <= last {
				t.Fatalf("token %d after %d", h.Token(), last)
			}
			fences := []string{r.Get(0, "{lock:k}:fence"), r.Get(1, "{lock:k}:fence"), r.Get(2, "{lock:k}:fence")}
			last = h.Token()
			must(t, h.Release(context.Background()))
			must(t, rs.Lock())
			drawn := 0 // where it was not refused because the release has not come there yet
			for i, before := range fences {
				switch after := r.Get(i, "{lock:k}:fence"); {
				case after > before:
					drawn++
				case after < before:
					t.Errorf("node %d: the counter fell from %s to %s", i, before, after)
				}
			}
			if drawn < 2 {
				t.Errorf("redsync has drawn numbers on %d nodes", drawn)
			}
			if ok, err := rs.Unlock(); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	})
}

func TestRedsync_Lock_HoldsUntilUnlock(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		for _, setNX := range []bool{false, true} {
			opts := []redsync.Option{redsync.WithExpiry(30 * time.Second)}
			if setNX {
				opts = append(opts, redsync.WithSetNXOnExtend())
			}
			m := Redsync(r.open()).NewMutex("lock:k", opts...)
			if ok, _ := m.Valid(); ok {
				t.Error("Valid before Lock")
			}
			must(t, m.Lock())
			if ok, err := m.Valid(); !ok || err != nil {
				t.Errorf("Valid = %t, %v", ok, err)
			}
			for _, c := range r.Clients {
				c.PExpire(context.Background(), "lock:k", 5*time.Second)
			}
			until := m.Until()
			if ok, err := m.Extend(); !ok || err != nil || !m.Until().After(until) {
				t.Errorf("Extend = %t, %v", ok, err)
			}
			for i, c := range r.Clients {
				if got := c.PTTL(context.Background(), "lock:k").Val(); got <= 5*time.Second {
					t.Errorf("node %d keeps the key for %v", i, got)
				}
			}
			r.Flush(0, 1)
			if ok, _ := m.Valid(); ok {
				t.Error("Valid after two of three nodes forgot")
			}
			if ok, _ := m.Extend(); ok != setNX {
				t.Errorf("Extend after two of three nodes forgot = %t, with SETNX %t", ok, setNX)
			}
			r.Flush(0, 1, 2)
			if ok, err := m.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) {
				t.Errorf("Unlock of what is gone = %t, %v", ok, err)
			}
			must(t, m.Lock())
			for i := range 3 {
				r.Put(i, "lock:k", "another's", time.Minute)
			}
			if ok, err := m.Unlock(); ok || err == nil || errors.Is(err, redsync.ErrLockAlreadyExpired) {
				t.Errorf("Unlock of what is another's = %t, %v", ok, err)
			}
			for i := range 3 {
				if got := r.Get(i, "lock:k"); got != "another's" {
					t.Errorf("node %d has %q", i, got)
				}
			}
			r.Flush(0, 1, 2)
		}
	})
}

// Whoever knows its value can end a lock, in another process too; one whose time is over cannot be extended once another
// holds the key, with SETNX or without.
func TestRedsync_Unlock_NeedsTheValue(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		one, other := Redsync(r.open()), Redsync(r.open())
		first := one.NewMutex("lock:k", redsync.WithExpiry(time.Minute))
		must(t, first.Lock())
		if ok, err := other.NewMutex("lock:k").Unlock(); ok || err == nil {
			t.Errorf("a mutex that was not locked ended another: %t, %v", ok, err)
		}
		if ok, err := other.NewMutex("lock:k", redsync.WithValue(first.Value())).Unlock(); !ok || err != nil {
			t.Errorf("by its value: %t, %v", ok, err)
		}
		for _, opts := range [][]redsync.Option{nil, {redsync.WithSetNXOnExtend()}} {
			late := one.NewMutex("lock:k", append(opts, redsync.WithExpiry(time.Minute))...)
			must(t, late.Lock())
			r.Flush(0, 1, 2) // as if its time were over
			next := other.NewMutex("lock:k", redsync.WithExpiry(time.Minute))
			must(t, next.Lock())
			if ok, err := late.Extend(); ok || err == nil {
				t.Errorf("extended over another: %t, %v", ok, err)
			}
			if ok, err := next.Unlock(); !ok || err != nil {
				t.Errorf("the holder: %t, %v", ok, err)
			}
		}
	})
}

func TestRedsync_Lock_RefusesABadExpiry(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		for _, expiry := range []time.Duration{0, time.Millisecond, time.Hour} {
			m := Redsync(c).NewMutex("lock:k", redsync.WithExpiry(expiry))
			if err := m.TryLockContext(context.Background()); err == nil {
				t.Errorf("expiry %v: no error", expiry)
			}
		}
		cn, err := firstNode(c).Get(nil) //nolint:staticcheck // as redsync may call it
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := cn.SetNX("lock:k", "v", time.Hour); ok || !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("SetNX = %t, %v", ok, err)
		}
	})
}

// firstNode is the first node of c as redsync sees it.
func firstNode(c *cluster.Cluster) redsyncredis.Pool {
	set := face.In(c)
	return redsyncPool{quorumlock.NewOneNode(set, set.Nodes()[0])}
}

// The other methods of redsync's connection, which its mutexes do not use.
func TestRedsync_Conn_DoesWhatMutexesDoNotUse(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		cn, err := firstNode(c).Get(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cn.Close() }()
		if got, err := cn.Get("x"); got != "" || err != nil {
			t.Errorf("Get of nothing = %q, %v", got, err)
		}
		if ok, err := cn.Set("x", "v"); !ok || err != nil {
			t.Errorf("Set = %t, %v", ok, err)
		}
		if got, err := cn.Get("x"); got != "v" || err != nil {
			t.Errorf("Get = %q, %v", got, err)
		}
		r.Clients[0].PExpire(context.Background(), "x", time.Minute)
		if got, err := cn.PTTL("x"); got <= 0 || got > time.Minute || err != nil {
			t.Errorf("PTTL = %v, %v", got, err)
		}
		script := redsyncredis.NewScript(1, `return {KEYS[1], ARGV[1]}`, "")
		if err := cn.ScriptLoad(script); err != nil {
			t.Error(err)
		}
		for range 2 {
			if got, err := cn.Eval(script, "x", "y"); fmt.Sprint(got) != "[x y]" || err != nil {
				t.Errorf("Eval = %v, %v", got, err)
			}
		}
		if got, err := cn.Eval(redsyncredis.NewScript(1, `return 1`, ""), 5); err == nil {
			t.Errorf("Eval with a number as key = %v", got)
		}
	})
}

func TestRedsync_Unlock_NotifiesWaiters(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		m := Redsync(r.open()).NewMutex("lock:k", redsync.WithExpiry(30*time.Second))
		must(t, m.Lock())
		c := r.open()
		waiter, mail := r.redlock(c), &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", face.In(c).Listen(mail))
		if _, err := waiter.Acquire(context.Background(), "k", quorumlock.Request{Queue: true}); !errors.Is(err, ErrNotAcquired) {
			must(t, err)
			t.Error("it was acquired")
		}
		harness.Eventually(t, "all nodes have queued it", func() bool { return len(r.Having("{lock:k}:queue")) == 3 })
		if ok, err := m.Unlock(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		for range 3 {
			if got := harness.Receive(t, "a wake", mail.came); got != "wlock:k" {
				t.Errorf("message %q", got)
			}
		}
		h := acquireEverywhere(t, waiter, quorumlock.Request{})
		_ = h.Release(context.Background())
	})
}

// letters receives messages.
type letters struct{ came chan string }

func (l *letters) Message(_ *nodeset.Node, text string) bool { l.came <- text; return true }
func (l *letters) Unclaimed(*nodeset.Node, string)           {}
func (l *letters) Gap(*nodeset.Node)                         {}

func TestRedsync_Lock_IsRefusedWhileTheKeyIsReserved(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		for i := range 3 {
			r.Put(i, "{lock:k}:next", "SOMEBODY", 30*time.Second)
		}
		m := Redsync(r.open()).NewMutex("lock:k", redsync.WithTries(1))
		var taken *redsync.ErrTaken
		if err := m.Lock(); !errors.As(err, &taken) {
			t.Errorf("Lock = %v", err)
		}
		for i := range 3 {
			if queue := r.Keys(i, "*queue"); len(queue) > 0 {
				t.Errorf("redsync was queued: %v", queue)
			}
		}
	})
}

func TestRedsync_Lock_AsksNoNodeOnADeadContext(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		r.warm(c)
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		m := Redsync(c).NewMutex("lock:k")
		if err := m.TryLockContext(dead); err == nil {
			t.Error("it was locked")
		}
		r.goneEverywhere(c)
		for i := range 3 {
			if keys := r.Keys(i, "{lock:k}:fence"); len(keys) > 0 {
				t.Errorf("node %d was asked", i)
			}
		}
	})
}

// redsync cleans up on the context that has ended, and does not wait for what it asked before.
func TestRedsync_Lock_LeavesNoKeyWhenCancelled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		paused []int
		cut    bool
	}{
		{"one frozen", []int{2}, false},
		{"all frozen", []int{0, 1, 2}, false},
		{"one frozen for longer than the timeout", []int{2}, true},
		{"all frozen for longer than the timeout", []int{0, 1, 2}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onNodes(t, 3, func(t *testing.T, r *rig) {
				tweak := patient
				if tc.cut {
					tweak = impatient
				}
				c := r.open(tweak)
				r.warm(c)
				// A node that knows the one script alone executes the other later.
				for _, i := range tc.paused {
					must(t, r.Clients[i].ScriptFlush(t.Context()).Err())
				}
				_, _ = Redsync(c).NewMutex("lock:warm").Unlock() // sends the script of the release to every node
				for _, i := range tc.paused {
					r.Pause(i)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var pools []redsyncredis.Pool
				asked := make([]harness.Watched, r.Len())
				for i, n := range face.In(c).Nodes() {
					asked[i] = harness.Watch(context.Background())
					pools = append(pools, watchedPool{redsyncPool{quorumlock.NewOneNode(face.In(c), n)}, asked[i]})
				}
				m := redsync.New(pools...).NewMutex("lock:k", redsync.WithExpiry(50*time.Second))
				failed := harness.Async(func() error { return m.TryLockContext(ctx) })
				for i := range 3 {
					if !slices.Contains(tc.paused, i) {
						harness.Eventually(t, "the others grant it", func() bool { return r.Get(i, "lock:k") != "" })
					}
				}
				if tc.cut {
					for _, i := range tc.paused {
						harness.Eventually(t, "the connection is cut", func() bool { return !c.Status()[i].Up })
					}
				} else {
					for _, i := range tc.paused {
						harness.Receive(t, "the frozen are asked", asked[i].Waiting)
					}
					cancel()
				}
				unlocked := make(<-chan error)
				won := harness.Receive(t, "the end of the attempt", failed) == nil // by two of three
				if won {
					unlocked = harness.Async(func() error { _, err := m.Unlock(); return err })
				}
				for _, i := range tc.paused {
					r.Resume(i)
				}
				if won {
					harness.Receive(t, "the end of Unlock", unlocked)
				}
				r.goneEverywhere(c)
				for _, i := range tc.paused {
					if n := len(r.Keys(i, "{lock:k}:fence")); n != 1 && !tc.cut {
						t.Errorf("the frozen node %d never executed the acquire", i)
					}
				}
			})
		})
	}
}

// watchedPool shows when an answer of a node is first waited for.
type watchedPool struct {
	redsyncredis.Pool
	asked harness.Watched
}

func (p watchedPool) Get(ctx context.Context) (redsyncredis.Conn, error) {
	return p.Pool.Get(watchedContext{ctx, p.asked})
}

type watchedContext struct {
	context.Context
	asked harness.Watched
}

func (w watchedContext) Done() <-chan struct{} {
	w.asked.Done()
	return w.Context.Done()
}

const mayHaveForgotten = "its vote does not count yet"

// A node that may have lost its grants is no vote for redsync either.
func TestRedsync_Lock_NeedsNodesThatKeptTheirData(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		h := acquireEverywhere(t, r.redlock(r.open()), quorumlock.Request{})
		for i := range 2 {
			if err := r.Restart(i, true); err != nil {
				t.Fatal(err)
			}
		}
		harness.Eventually(t, "the restarts are seen", func() bool {
			_ = Redsync(c).NewMutex("lock:other", redsync.WithTries(1)).Lock()
			s := c.Status()
			return s[0].Up && s[1].Up && !s[0].Votes && !s[1].Votes
		})
		if err := Redsync(c).NewMutex("lock:k", redsync.WithTries(1)).Lock(); err == nil {
			t.Error("two nodes that forgot the holder gave the key away")
		} else if !strings.Contains(err.Error(), mayHaveForgotten) {
			must(t, err)
		}
		for i, want := range []string{"", "", h.Value()} {
			if got := r.Get(i, "lock:k"); got != want {
				t.Errorf("node %d has %q, want %q", i, got, want)
			}
		}
		ext := Redsync(c).NewMutex("lock:k", redsync.WithTries(1), redsync.WithExpiry(30*time.Second), redsync.WithSetNXOnExtend())
		if ok, err := ext.Extend(); ok || err == nil || !strings.Contains(err.Error(), mayHaveForgotten) {
			t.Errorf("Extend with redsync.WithSetNXOnExtend took what two nodes forgot: %t, %v", ok, err)
		}
	})
}
