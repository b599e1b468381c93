package quorumlock

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestRelease_FreesTheKeyOnEveryNode(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		for range 8 {
			h := acquire(t, red, "k", Request{})
			must(t, h.Release(ctx))
			if err := h.Release(ctx); !errors.Is(err, ErrReleased) {
				t.Errorf("a second release: %v", err)
			}
			if _, ok := any(h.Release(ctx)).(*LostError); ok || h.Token() == 0 {
				t.Errorf("after the release: token %d", h.Token())
			}
			h = acquire(t, red, "k", Request{}) // others can acquire it as soon as Release has returned
			h.Abort(errors.New("for a test"))
			harness.Eventually(t, "what was given up is given back", func() bool { return len(r.Having("lock:k")) == 0 })
		}
		r.goneEverywhere(c, "lock:k")
	})
}

func TestRelease_WaitsForNoMoreThanAQuorum(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 4)
		must(t, h.Release(context.Background()))
		r.resume(0, 4)
		r.goneEverywhere(c, "lock:k")
	})
}

func TestRelease_AfterExpiryIsALoss(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		h := acquireEverywhere(t, red, "k", Request{TTL: 50 * time.Millisecond})
		harness.Past(h.Deadline())
		err := h.Release(context.Background())
		if lost := as[*LostError](t, err); !errors.Is(err, ErrLost) || lost.Key != "k" || lost.Token != h.Token() {
			t.Errorf("%+v", lost)
		}
		if err := h.Release(context.Background()); !errors.Is(err, ErrReleased) {
			t.Errorf("a second release: %v", err)
		}
	})
}

// Every way in which the key can be not ours any more on some of five nodes.
func TestRelease_OfAKeyHeldByAnotherIsALoss(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		ctx := context.Background()
		red := r.redlock(nil, Config{TTL: lasting})
		for _, tc := range []struct {
			gone, taken []int
			lost        bool
		}{
			{nil, nil, false},
			{[]int{0}, []int{4}, false},
			{[]int{0, 1, 2, 3, 4}, nil, true},
			{nil, []int{0, 1, 2, 3, 4}, true},
		} {
			r.Flush(0, 1, 2, 3, 4)
			h := acquireEverywhere(t, red, "k", Request{})
			for _, i := range tc.gone {
				r.Clients[i].Del(ctx, "lock:k")
			}
			for _, i := range tc.taken {
				r.Put(i, "lock:k", "another's", time.Minute)
			}
			if err := h.Release(ctx); errors.Is(err, ErrLost) != tc.lost || (err == nil) == tc.lost {
				t.Errorf("gone on %v, taken on %v: %v", tc.gone, tc.taken, err)
			}
			harness.Eventually(t, "ours is released, and nothing else", func() bool { return slices.Equal(r.Having("lock:k"), tc.taken) })
		}
	})
}

// A majority found the key not to be ours; one node did, and it does not help.
func TestRelease_NeedsMoreThanOneNodeThatHeldTheKey(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		ctx := context.Background()
		red := r.redlock(r.open(patient), Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 4 {
			r.Clients[i].Del(ctx, "lock:k")
		}
		r.pause(0, 1, 2, 3, 4)
		must(t, h.StartRelease())
		r.resume(0, 1, 2, 3, 4)
		harness.Eventually(t, "all have answered", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.release.open == 0
		})
		if err := h.AwaitRelease(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("release = %v", err)
		}
	})
}

func TestRelease_ThatReachesTooFewNodesIsReportedAndSentLater(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open(impatient)
		red := r.redlock(c, Config{TTL: 50 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		r.Stop(0)
		r.pause(1)
		err := h.Release(ctx)
		quorum := as[*nodeset.QuorumError](t, err)
		if !errors.Is(err, nodeset.ErrNoQuorum) || quorum.Op != "release" || quorum.Key != "k" || quorum.Need != 2 || quorum.Got != 1 {
			t.Errorf("%+v", quorum)
		}
		for i, n := range quorum.Nodes {
			if n.Node != c.Nodes()[i].Name() || n.Err == nil {
				t.Errorf("%v does not name node %d", err, i)
			}
		}
		if err := h.Release(ctx); !errors.Is(err, ErrReleased) {
			t.Errorf("a second release: %v", err)
		}
		r.resume(1)
		if err := r.Restart(0, false); err != nil {
			t.Fatal(err)
		}
		r.goneEverywhere(c, "lock:k") // long before they would expire
	})
}

// A server without its replicas refuses the release on a connection that works, and so it does when it is sent again.
func TestRelease_ThatIsRefusedIsRetriedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, harness.Real(t, 3, redisserver.Options{}))
	c := r.open()
	red := r.redlock(c, Config{})
	h := acquireEverywhere(t, red, "k", Request{TTL: c.Config().MaxTTL})
	replicas := func(least string) {
		t.Helper()
		for _, client := range r.Clients {
			must(t, client.ConfigSet(t.Context(), "min-replicas-to-write", least).Err())
		}
	}
	replicas("1")
	err := h.Release(context.Background())
	if few := as[*nodeset.QuorumError](t, err); few.Got != 0 || !strings.Contains(err.Error(), "NOREPLICAS") {
		t.Errorf("a release that is refused gets %v", err)
	}
	harness.Eventually(t, "every node to refuse it again", func() bool {
		for _, client := range r.Clients {
			stats, err := client.Info(t.Context(), "errorstats").Result()
			must(t, err)
			_, count, _ := strings.Cut(stats, "errorstat_NOREPLICAS:count=")
			if n, _ := strconv.Atoi(strings.Fields(count + " 0")[0]); n < 3 {
				return false
			}
		}
		return true
	})
	replicas("0")
	harness.Eventually(t, "the key to be free", func() bool { return len(r.Having("lock:k")) == 0 })
	for i, client := range r.Clients {
		if stats := client.Info(t.Context(), "stats").Val(); !strings.Contains(stats, "expired_keys:0\r") {
			t.Errorf("on node %d it was not released, but has expired", i)
		}
	}
}

func TestRelease_ContinuesWhenItsContextEnds(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		if err := h.Release(dead); !errors.Is(err, context.Canceled) {
			t.Errorf("release = %v", err)
		}
		r.resume(0, 1, 2)
		r.goneEverywhere(c, "lock:k")
	})
}

// A node that is away when the hold is extended keeps the key for the TTL of before, and is to give it back all the same.
func TestRelease_ReachesANodeThatMissedAShorterTTL(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open()
		red := r.redlock(c, Config{TTL: 50 * time.Second})
		h := acquireEverywhere(t, red, "k", Request{})
		r.Stop(2)
		harness.Eventually(t, "it is known to be down", func() bool {
			acquireEverywhere(t, red, "other", Request{}).Abort(errors.New("for a test"))
			return !c.Status()[2].Up
		})
		must(t, h.ExtendNow(ctx, 2*time.Second))
		must(t, h.Release(ctx))
		harness.Past(time.Now().Add(2 * time.Second))
		if err := r.Restart(2, false); err != nil {
			t.Fatal(err)
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// The acquire of a slow node fails after the hold was released: it was never ours there, and the release ends.
func TestRelease_EndsWithTheLastStraggler(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		warm(t, red)
		r.Put(2, "lock:k", "another's", time.Minute)
		r.pause(2)
		h := acquire(t, red, "k", Request{})
		r.Clients[1].Del(ctx, "lock:k") // a list instead: the release fails there
		r.Clients[1].RPush(ctx, "lock:k", "x")
		must(t, h.StartRelease())
		harness.Eventually(t, "two nodes have answered", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.release.open == 1
		})
		r.resume(2)
		if err := harness.Receive(t, "the end of the release", harness.Async(func() error { return h.AwaitRelease(ctx) })); err != nil {
			t.Errorf("release = %v", err)
		}
	})
}

func TestWake_WaitersOfOtherProcessesAreServedFirst(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		holder := r.redlock(nil, Config{TTL: lasting, HandOver: time.Second})
		waiter := r.redlock(nil, Config{TTL: lasting})
		passer := r.redlock(nil, Config{TTL: lasting})
		mail := &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", waiter.c.Listen(mail))
		held := &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", holder.c.Listen(held))

		h := acquireEverywhere(t, holder, "k", Request{})
		w, err := waiter.newHold("k", Request{})
		must(t, err)
		w.queue = true
		w.ask(false)
		harness.Eventually(t, "all nodes have refused and queued", w.landed)
		if m, ok := ParseMessage(harness.Receive(t, "the holder hears of it", held.came)); !ok || m != (Message{Lock: "lock:k"}) {
			t.Errorf("message %+v", m)
		}
		must(t, h.Release(ctx))
		for range 3 {
			if m, ok := ParseMessage(harness.Receive(t, "the waiter is woken", mail.came)); !ok || m != (Message{Lock: "lock:k", Turn: true}) {
				t.Errorf("message %+v", m)
			}
		}
		if _, err := passer.Acquire(ctx, "k", Request{}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("who passes by: %v", err)
		}
		won := acquireEverywhere(t, waiter, "k", Request{})
		won.Dequeue(false)
		_ = won.Release(ctx)
		harness.Eventually(t, "nobody is queued", func() bool { return len(r.Having("{lock:k}:queue")) == 0 })
		for i := range 3 {
			if keys := r.Keys(i, "{lock:k}:*"); !slices.Equal(keys, []string{"{lock:k}:fence"}) {
				t.Errorf("node %d keeps %v", i, keys)
			}
		}
		// Who steps out of the queues after it has released, and was given the turn again by that, passes it on.
		next := r.redlock(nil, Config{})
		after := &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", next.c.Listen(after))
		h = acquireEverywhere(t, holder, "k", Request{})
		for _, who := range []*Redlock{waiter, next} {
			w, _ = who.newHold("k", Request{})
			w.queue = true
			w.ask(false)
			harness.Eventually(t, "all nodes have refused and queued", w.landed)
		}
		_ = h.Release(ctx)
		won = acquireEverywhere(t, waiter, "k", Request{})
		must(t, won.Release(ctx))
		won.Dequeue(false)
		for range 3 {
			if m, ok := ParseMessage(harness.Receive(t, "the next is woken", after.came)); !ok || m != (Message{Lock: "lock:k", Turn: true}) {
				t.Errorf("message %+v", m)
			}
		}
		next.LeaveLock("lock:k")
		harness.Eventually(t, "nobody is queued", func() bool { return len(r.Having("{lock:k}:queue")) == 0 })
		harness.Eventually(t, "nobody's turn is it", func() bool { return len(r.Having("{lock:k}:next")) == 0 })
		// Who queued and gives up leaves the queues.
		h = acquireEverywhere(t, holder, "k", Request{})
		w, _ = waiter.newHold("k", Request{})
		w.queue = true
		w.ask(false)
		harness.Eventually(t, "all nodes have refused and queued", w.landed)
		waiter.LeaveLock("lock:k")
		waiter.leave("lock:k", waiter.c.Nodes()[:1], false, false, &waiter.words.handOver)
		harness.Eventually(t, "nobody is queued", func() bool { return len(r.Having("{lock:k}:queue")) == 0 })
		_ = h.Release(ctx)
	})
}

// letters is a Listener that passes messages on.
type letters struct{ came chan string }

func (l *letters) Message(_ *nodeset.Node, text string) bool { l.came <- text; return true }
func (l *letters) Unclaimed(*nodeset.Node, string)           {}
func (l *letters) Gap(*nodeset.Node)                         {}

func TestParseMessage_ReadsWakesAndAnnouncements(t *testing.T) {
	for text, want := range map[string]Message{
		"wlock:k": {Lock: "lock:k", Turn: true}, "qlock:k": {Lock: "lock:k"}, "w": {Turn: true}, "qw": {Lock: "w"}, "plock:k": {Lock: "lock:k", Ask: true},
		"s0:lock:k": {Lock: "lock:k", Turn: true, Slot: 1}, "s1023:s1:k": {Lock: "s1:k", Turn: true, Slot: 1024},
	} {
		if m, ok := ParseMessage(text); !ok || m != want {
			t.Errorf("ParseMessage(%q) = %+v, %t", text, m, ok)
		}
	}
	for _, text := range []string{"", "x", "Wlock:k", " w", "s", "s:k", "s1024:k", "s-1:k", "s1"} {
		if m, ok := ParseMessage(text); ok {
			t.Errorf("ParseMessage(%q) = %+v", text, m)
		}
	}
}
