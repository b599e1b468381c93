package quorumlock

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A reader sees the counter that a failed writer raised on one node, and brings a
// quorum to it.
func TestShared_AReaderRaisesAQuorumToItsToken(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		warm(t, red)
		fence := namesOf("lock:k")[1]
		ahead := time.Now().Add(30 * time.Second).UnixMicro() // above what a node's clock would make of it
		for i := range r.Len() {
			r.Put(i, fence, strconv.FormatInt(ahead, 10), time.Hour)
		}
		r.Put(1, fence, strconv.FormatInt(ahead+500, 10), time.Hour)
		h := acquireEverywhere(t, red, "k", Request{Shared: true})
		raised := 0
		harness.Eventually(t, "a quorum is at the token", func() bool {
			raised = 0
			for i := range r.Len() {
				if r.Get(i, fence) == strconv.FormatInt(h.Token(), 10) {
					raised++
				}
			}
			return raised >= 2
		})
		if h.Token() < ahead {
			t.Errorf("token %d, and the counters were at %d", h.Token(), ahead)
		}
		must(t, h.Release(t.Context()))
		w := acquire(t, red, "k", Request{})
		if w.Token() <= h.Token() {
			t.Errorf("a writer has token %d after a reader with %d", w.Token(), h.Token())
		}
		must(t, w.Release(t.Context()))
	})
}

func TestShared_ADowngradedHolderHasTheLastTokenOfItsBlock(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		h := acquireEverywhere(t, red, "k", Request{TokenBlock: 64})
		last := lastToken(h)
		if got := h.EndWriting(); got != last || h.Token() != last || h.HasNextToken() {
			t.Errorf("token %d, want %d", got, last)
		}
		if _, err := red.Acquire(t.Context(), "k", Request{Shared: true}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a reader before the nodes know of it: %v", err)
		}
		must(t, h.ShareNow(t.Context()))
		reader := acquire(t, red, "k", Request{Shared: true})
		if reader.Token() < last {
			t.Errorf("another reader has token %d, the downgraded one %d", reader.Token(), last)
		}
		must(t, h.ExtendNow(t.Context(), lasting))
		must(t, h.Release(t.Context()))
		must(t, reader.Release(t.Context()))
		r.goneEverywhere(c, "lock:k")
	})
}

// A fleet is rolled, as in earlier_test.go, and this version reads.
func TestEarlierVersion_SeesReadersAsALockThatAnotherHolds(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red, mail := r.redlock(c, Config{}), &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", c.Listen(mail))
		old := &earlier{rig: r, process: strings.Repeat("E", processLen), keys: namesOf("lock:k")}
		wakes := r.wakes(old.process)
		last := r.seen(red, "k")
		for range 3 {
			h := acquireEverywhere(t, red, "k", Request{Shared: true, Queue: true})
			if h.Token() < last {
				t.Fatalf("a reader has token %d after %d", h.Token(), last)
			}
			last = h.Token()
			h.Dequeue(false)
			if value, _ := old.acquire(); value != "" {
				t.Fatal("the earlier version acquires a key that this one reads")
			}
			for i := range r.Len() {
				if got := old.run(i, "extend", 1, old.process+"/1/", 1000).([]any); got[0] != int64(0) || got[1] != sharedMark {
					t.Errorf("node %d answers %v to a renewal by the earlier version", i, got)
				}
			}
			must(t, h.ExtendNow(t.Context(), lasting))
			if !h.WritersWait() {
				t.Error("a renewal does not find the writer of the earlier version")
			}
			must(t, h.Release(t.Context()))
			r.woken(wakes)
			value, token := old.acquire()
			if value == "" || token <= last {
				t.Fatalf("the earlier version acquires %q with token %d after %d", value, token, last)
			}
			last = token
			for i := range r.Len() {
				old.run(i, "wake+leave", 4, old.process, 0, "", "")
			}
			if _, err := red.Acquire(t.Context(), "k", Request{Shared: true, Queue: true}); !errors.Is(err, ErrNotAcquired) {
				t.Fatalf("a reader beside the earlier version: %v", err)
			}
			harness.Eventually(t, "the reader is queued", func() bool { return len(r.Having("{lock:k}:queue")) == r.Len() })
			old.release(value)
			for range r.Len() {
				if got := harness.Receive(t, "the wake", mail.came); got != "wlock:k" && got != "qlock:k" {
					t.Errorf("this version is sent %q", got)
				}
			}
			red.LeaveShared("lock:k")
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// A client of redsync is refused by readers, and refuses them.
func TestShared_ARedsyncIsExcluded(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		red, one := r.redlock(c, Config{}), NewOneNode(c, c.Nodes()[0])
		h := acquire(t, red, "k", Request{Shared: true})
		value := "AAAAAAAAAAAAAAAAAAAAAA=="
		if granted, err := one.Acquire(t.Context(), "lock:k", value, lasting); granted || err != nil {
			t.Errorf("beside a reader: %t, %v", granted, err)
		}
		must(t, h.Release(t.Context()))
		granted, err := one.Acquire(t.Context(), "lock:k", value, lasting)
		if must(t, err); !granted {
			t.Fatal("it is refused a free key")
		}
		if _, err := red.Acquire(t.Context(), "k", Request{Shared: true}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("a reader beside it: %v", err)
		}
		if found, err := one.Release(t.Context(), "lock:k", value); found != FoundOurs || err != nil {
			t.Error(found, err)
		}
	})
}

func TestShared_DoesNotFitAHandle(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		if err := r.redlock(nil, Config{}).Check("k", Request{Shared: true, Handle: &Handle{}}); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "Shared") {
			t.Error(err)
		}
	})
}

// A renewal that is under way heals the nodes of a key that a writer has had since,
// and the downgrade finds them owned.
func TestShared_ADowngradeRevivesNoHoldThatARenewalHeals(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other := r.redlock(nil, Config{}), r.redlock(nil, Config{})
		warm(t, red)
		warm(t, other)
		h := acquireEverywhere(t, red, "k", Request{TokenBlock: 4})
		seen, err := other.Inspect(t.Context(), "k")
		must(t, err)
		must(t, other.ForceReleaseNow(t.Context(), seen))
		w := acquireEverywhere(t, other, "k", Request{})
		must(t, w.Release(t.Context()))
		h.Extend(h.TTL(), func(Verdict) {})
		token := h.EndWriting()
		if err := h.ShareNow(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("a downgrade with token %d after a writer with %d: %v", token, w.Token(), err)
		}
	})
}

// What a renewal was told before the downgrade took its place counts as well.
func TestShared_ADowngradeCountsWhatTheRenewalBeforeItFound(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		warm(t, red)
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 2 {
			r.Clients[i].Del(t.Context(), "lock:k")
		}
		var box Outbox
		h.ExtendIn(&box, h.TTL(), func(Verdict) {})
		rest := Outbox{box.nodes, append([][]letter{nil}, box.mail[1:]...)}
		box.mail = box.mail[:1]
		box.nodes = box.nodes[:1]
		box.Send()
		harness.Eventually(t, "the first node is healed", func() bool { return r.Get(0, "lock:k") != "" && h.idleOn(0) })
		h.EndWriting()
		shared := make(chan error, 1)
		go func() { shared <- h.ShareNow(t.Context()) }()
		harness.Eventually(t, "the downgrade has asked it", func() bool { return r.Get(0, "lock:k") == sharedMark && h.idleOn(0) })
		rest.Send()
		if err := harness.Receive(t, "the downgrade", shared); !errors.Is(err, ErrLost) {
			t.Errorf("a downgrade after two of three nodes were healed: %v", err)
		}
	})
}

// idleOn reports whether nothing is in flight on the node.
func (h *Hold) idleOn(node int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.members[node].inFlight == 0
}

// A renewal that leaves late does not come behind the downgrade.
func TestShared_ADowngradeComesBehindTheRenewalThatIsUnderWay(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		warm(t, red)
		h := acquireEverywhere(t, red, "k", Request{})
		var box Outbox
		h.ExtendIn(&box, h.TTL(), func(Verdict) {})
		h.EndWriting()
		shared := make(chan error, 1)
		go func() { shared <- h.ShareNow(t.Context()) }()
		harness.Eventually(t, "the downgrade has begun", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.round != nil && h.round.askLate != nil
		})
		box.Send()
		must(t, harness.Receive(t, "the downgrade", shared))
		must(t, h.Release(t.Context()))
		for i := range 3 {
			harness.Eventually(t, "the key is free", func() bool { return r.Get(i, "lock:k") == "" })
		}
	})
}

// Each of the readers on a quorum of nodes may be one whose attempt is about to
// fail. A holder is told from them by its value.
func TestShared_AWriterDoesNotTakeFailingReadersForOneHolder(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, other := r.redlock(nil, Config{}), r.redlock(nil, Config{})
		warm(t, red)
		refused := func() (e *NotAcquiredError) {
			if _, err := other.Acquire(t.Context(), "k", Request{}); !errors.As(err, &e) {
				t.Fatal(err)
			}
			return e
		}
		h := acquireEverywhere(t, red, "k", Request{})
		if e := refused(); e.Split || e.MayBeSplit() {
			t.Errorf("a holder is taken for several: %v", e)
		}
		must(t, h.Release(t.Context()))
		h = acquireEverywhere(t, red, "k", Request{Shared: true})
		if e := refused(); e.Split || !e.MayBeSplit() {
			t.Errorf("readers are taken for one: %v", e)
		}
		must(t, h.Release(t.Context()))
	})
}

// A node names only so many readers; that there may be others is said.
func TestInspect_ReportsThatThereMayBeMoreReaders(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		warm(t, red)
		acquireEverywhere(t, red, "k", Request{Shared: true})
		for n := 1; n <= namedReaders; n++ {
			seen, err := red.Inspect(t.Context(), "k")
			must(t, err)
			if len(seen.Readers) != n || seen.MoreReaders != (n == namedReaders) {
				t.Fatalf("%d readers of %d; more: %t", len(seen.Readers), n, seen.MoreReaders)
			}
			expiry := float64(time.Now().Add(time.Hour).UnixMilli())
			for _, c := range r.Clients {
				must(t, c.ZAdd(t.Context(), sharedNames("lock:k")[4], redis.Z{Score: expiry, Member: fmt.Sprintf("%0*d/1/h:%d", processLen, n, n)}).Err())
			}
		}
	})
}
