package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestAcquire_ReturnsAtAQuorum(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: 30 * time.Second})
		r.pause(1, 3)
		h := acquire(t, red, "k", Request{})
		if got, want := results(h), []Result{Granted, Pending, Granted, Pending, Granted}; !slices.Equal(got, want) {
			t.Errorf("answers = %v, want %v", got, want)
		}
		if h.Token() <= 0 || h.Key() != "k" || h.TTL() != 30*time.Second || h.Waiters() != 0 {
			t.Errorf("hold of %q: token %d, TTL %v, waiters %d", h.Key(), h.Token(), h.TTL(), h.Waiters())
		}
		r.resume(1, 3)
		harness.Eventually(t, "the stragglers grant it too", func() bool { return len(r.Having("lock:k")) == 5 })
		must(t, h.Release(context.Background()))
		r.goneEverywhere(c, "lock:k")
	})
}

func TestDeadline_CountsFromBeforeTheRequestLeft(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		first := firstWrite{key: "lock:k"}
		red := r.redlock(r.open(patient, first.watch(t)), Config{TTL: 30 * time.Second})
		before := time.Now()
		h := acquire(t, red, "k", Request{})
		if latest := nodeset.Deadline(first.time(), 30*time.Second); h.Deadline().After(latest) {
			t.Errorf("the deadline is %v after the latest that it can be", h.Deadline().Sub(latest))
		}
		if earliest := nodeset.Deadline(before, 30*time.Second); h.Deadline().Before(earliest) {
			t.Errorf("the deadline is %v before the earliest that it can be", earliest.Sub(h.Deadline()))
		}
	})
}

// firstWrite is when a key was first sent to any node.
type firstWrite struct {
	key string
	mu  sync.Mutex
	at  time.Time
}

func (f *firstWrite) time() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// watch has the nodes dialled through connections that tell f what is sent.
func (f *firstWrite) watch(t *testing.T) func(*nodeset.Config) {
	return func(cfg *nodeset.Config) {
		cfg.Clients = map[string]redis.UniversalClient{}
		for i, url := range cfg.URLs {
			o, err := redis.ParseURL(url)
			must(t, err)
			addr := o.Addr
			o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				return watchedConn{conn, f}, err
			}
			client := redis.NewClient(o)
			t.Cleanup(func() { client.Close() })
			cfg.Clients[fmt.Sprint("node", i)] = client
		}
		cfg.URLs = nil
	}
}

type watchedConn struct {
	net.Conn
	f *firstWrite
}

func (c watchedConn) Write(b []byte) (int, error) {
	c.f.mu.Lock()
	if c.f.at.IsZero() && strings.Contains(string(b), c.f.key) {
		c.f.at = time.Now()
	}
	c.f.mu.Unlock()
	return c.Conn.Write(b)
}

func TestToken_Grows(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		reds := []*Redlock{r.redlock(nil, Config{}), r.redlock(nil, Config{})}
		var last int64
		for i := range 70 {
			span := 1 + i%MaxTokenBlock
			h := acquire(t, reds[i%2], "k", Request{TokenBlock: span})
			for j := range span {
				if h.Token() <= last {
					t.Fatalf("acquisition %d: token %d after %d", i, h.Token(), last)
				}
				last = h.Token()
				if next, ok := h.NextToken(); ok != (j < span-1) || ok && next != last+1 || !ok && next != last {
					t.Fatalf("token %d of %d: next %d, %v after %d", j, span, next, ok, last)
				}
			}
			must(t, h.Release(context.Background()))
		}
	})
}

func TestToken_GrowsWhileNodesLoseTheirData(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(func(cfg *nodeset.Config) { cfg.MaxTTL, cfg.NodeTimeout = 3*time.Second, time.Second })
		red := r.redlock(c, Config{TTL: 3 * time.Second})
		var last int64
		acquireOne := func() {
			var h *Hold
			harness.Eventually(t, "an acquisition", func() bool {
				var err error
				h, err = red.Acquire(context.Background(), "k", Request{})
				if err != nil && !errors.Is(err, nodeset.ErrNoQuorum) && !errors.Is(err, ErrNotAcquired) {
					t.Fatal(err)
				}
				return err == nil
			})
			if h.Token() <= last {
				t.Fatalf("token %d after %d", h.Token(), last)
			}
			last = h.Token()
			_ = h.Release(context.Background()) // a node may be away
		}
		for i := range 3 { // in the end nobody remembers the first tokens
			for range 20 {
				acquireOne()
			}
			r.Stop(i)
			acquireOne()
			if err := r.Restart(i, true); err != nil {
				t.Fatal(err)
			}
			for _, votes := range []bool{false, true} {
				harness.Eventually(t, fmt.Sprintf("the node is back, and votes: %t", votes), func() bool {
					acquireOne()
					s := c.Status()[i]
					return s.Up && s.Votes == votes
				})
			}
		}
	})
}

func TestBump_BringsDisagreeingNodesToOneToken(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		base := time.Now().Add(time.Hour).UnixMicro() // above any start of a node
		for round := range 10 {
			want := map[int64]bool{}
			for i := range r.Len() {
				fence := base + int64((i*7+round)%5*100)
				r.Put(i, "{lock:k}:fence", strconv.FormatInt(fence, 10), time.Hour)
				want[fence+3] = true
			}
			h := acquireEverywhere(t, red, "k", Request{TokenBlock: 3})
			top := h.Token() + 2
			if !want[top] {
				t.Errorf("the span ends with %d, which no node granted: %v", top, want)
			}
			behind := 0
			for i := range r.Len() {
				if fence, _ := strconv.ParseInt(r.Get(i, "{lock:k}:fence"), 10, 64); fence >= top {
					behind++
				}
			}
			if behind < 3 {
				t.Errorf("%d nodes stand behind the token, want a quorum", behind)
			}
			must(t, h.Release(context.Background()))
			base += 1000
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// Three nodes have the key, one of them said the larger number, and while the two others are being raised the key
// expires there and is granted to somebody else.
func TestBump_FailsUnlessAQuorumOwnsIt(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		warm(t, red)
		base := time.Now().Add(time.Hour).UnixMicro()
		for i := range 3 {
			r.Put(i, "{lock:k}:fence", strconv.FormatInt(base+int64(100*i), 10), time.Hour)
		}
		h, err := red.newHold("k", Request{})
		must(t, err)
		h.mu.Lock() // the answers cannot be taken in yet
		h.voting.start = time.Now()
		for i := range h.members {
			h.members[i].inFlight = 1
		}
		keys := namesOf(h.lock)
		for i, n := range c.Nodes() {
			n.Run(acquireScript, keys[:], []any{
				h.value, 30_000, 1, 0, c.Process(), 3_600_000, 60_000, 0, "",
			}, (*acquirer)(h))
			harness.Eventually(t, "the grant", func() bool { return r.Get(i, "lock:k") == h.value })
			r.Put(i, "lock:k", "another's", time.Minute)
		}
		h.mu.Unlock()
		harness.Receive(t, "the end of the attempt", h.settled)
		h.mu.Lock()
		err, phase := h.err, h.phase
		h.mu.Unlock()
		if held := as[*NotAcquiredError](t, err); phase != phaseFailed || held.Got >= held.Need {
			t.Errorf("phase %v, error %v", phase, err)
		}
		for i := range 3 {
			if got := r.Get(i, "lock:k"); got != "another's" {
				t.Errorf("node %d has %q", i, got)
			}
		}
	})
}

func TestAcquire_FailsIfItsDeadlineHasPassed(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{})
		warm(t, red)
		fence := strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10)
		for i := range 3 { // so that they agree, and nothing has to be raised
			r.Put(i, "{lock:k}:fence", fence, time.Hour)
		}
		r.pause(0, 1)
		failed := harness.Async(func() error {
			_, err := red.Acquire(context.Background(), "k", Request{TTL: 60 * time.Millisecond})
			return err
		})
		harness.Eventually(t, "the third node has answered", func() bool { return r.scripts(2) > 1 })
		harness.Past(nodeset.Deadline(time.Now(), 60*time.Millisecond).Add(10 * time.Millisecond)) // the attempt began before
		r.resume(0, 1)
		err := harness.Receive(t, "the end of the attempt", failed)
		if held := as[*NotAcquiredError](t, err); held.Reason != "the answers came too late" || held.Got < 2 || held.Got > 3 {
			t.Errorf("%v (got %d)", held, held.Got)
		}
		r.goneEverywhere(c, "lock:k")
	})
}

func TestAcquire_NeverUnderADeadContext(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		warm(t, red)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 20 {
			if h, err := red.Acquire(ctx, "k", Request{}); !errors.Is(err, context.Canceled) {
				t.Fatalf("Acquire = %v, %v", h, err)
			}
		}
		acquireEverywhere(t, red, "behind", Request{})
		for i := range r.Len() {
			if r.Get(i, "{lock:k}:fence") != "" {
				t.Errorf("node %d was asked", i)
			}
		}
	})
}

// endsAtTheSecondLook is a context that ends when it is asked for its error a second time.
type endsAtTheSecondLook struct {
	context.Context
	cancel context.CancelFunc
	looks  int
}

func (c *endsAtTheSecondLook) Err() error {
	if c.looks++; c.looks > 1 {
		c.cancel()
	}
	return c.Context.Err()
}

func TestAcquire_FailsIfTheContextEndedBeforeTheQuorum(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		ctx, cancel := context.WithCancel(context.Background())
		h, err := red.Acquire(&endsAtTheSecondLook{Context: ctx, cancel: cancel}, "k", Request{})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Acquire = %v, %v", h, err)
		}
		r.goneEverywhere(c, "lock:k")
	})
}

// The context ends in the moment in which the quorum answers.
func TestAcquire_FailsIfTheContextEndsWithTheQuorum(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		won, lost := 0, 0
		for i := range 45 {
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				if i%3 > 0 {
					harness.Eventually(t, "a grant", func() bool { return r.Get(i%3, "lock:k") != "" || ctx.Err() != nil })
				}
				cancel()
			}()
			h, err := red.Acquire(ctx, "k", Request{})
			switch {
			case err == nil:
				won++
				must(t, h.Release(context.Background()))
			case errors.Is(err, context.Canceled):
				lost++
			case !errors.Is(err, ErrNotAcquired): // what the attempt before has yet to give back
				t.Fatal(err)
			}
			cancel()
		}
		t.Logf("%d won, %d cancelled", won, lost)
		r.goneEverywhere(c, "lock:k")
	})
}

func TestAcquire_LeavesNoKeyWhenCancelled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		paused []int
		cut    bool // the pause outlasts NodeTimeout
	}{
		{"one node is frozen, the others refuse", []int{0}, false},
		{"two of three are frozen", []int{0, 2}, false},
		{"all are frozen", []int{0, 1, 2}, false},
		{"one is frozen for longer than the timeout", []int{0}, true},
		{"two are frozen for longer than the timeout", []int{1, 2}, true},
		{"all are frozen for longer than the timeout", []int{0, 1, 2}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onNodes(t, 3, func(t *testing.T, r *rig) {
				tweak := patient
				if tc.cut {
					tweak = impatient
				}
				c := r.open(tweak)
				red := r.redlock(c, Config{TTL: lasting})
				warm(t, red)
				if len(tc.paused) == 1 {
					r.Put(1, "lock:k", "another's", time.Minute)
				}
				r.pause(tc.paused...)
				cancelled, cancel := context.WithCancel(context.Background())
				ctx := harness.Watch(cancelled)
				failed := harness.Async(func() error {
					_, err := red.Acquire(ctx, "k", Request{})
					return err
				})
				harness.Receive(t, "the attempt has been sent", ctx.Waiting)
				for i := range 3 {
					if !slices.Contains(tc.paused, i) && !tc.cut { // when it is cut, what was granted may be given back by now
						harness.Eventually(t, "the others have answered", func() bool { return r.Get(i, "lock:k") != "" })
					}
				}
				if tc.cut {
					for _, i := range tc.paused {
						harness.Eventually(t, "the connection is cut", func() bool { return !c.Status()[i].Up })
					}
				}
				cancel()
				if err := harness.Receive(t, "the end of the attempt", failed); err == nil || !tc.cut && !errors.Is(err, context.Canceled) {
					t.Errorf("err = %v", err)
				}
				r.resume(tc.paused...)
				if len(tc.paused) == 1 {
					r.Clients[1].Del(context.Background(), "lock:k")
				}
				r.goneEverywhere(c, "lock:k")
				for i := range 3 { // it was executed, or else this has shown nothing
					if !slices.Contains(tc.paused, i) {
						continue
					}
					if n := len(r.Keys(i, "{lock:k}:fence")); n != 1 {
						t.Errorf("the frozen node %d never executed the acquire", i)
					}
				}
			})
		})
	}
}

func TestAcquire_LeavesNoKeyWhenItTimesOut(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open(impatient)
		red := r.redlock(c, Config{TTL: lasting})
		warm(t, red)
		r.pause(0, 1, 2)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if _, err := red.Acquire(ctx, "k", Request{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		_, err := red.Acquire(context.Background(), "k2", Request{})
		if quorum := as[*nodeset.QuorumError](t, err); quorum.Need != 3 || quorum.Key != "k2" || quorum.Op != "acquire" {
			t.Errorf("%+v", quorum)
		}
		r.resume(0, 1, 2)
		r.goneEverywhere(c, "lock:k", "lock:k2")
	})
}

// The scripts are such that a node which has lost the one of acquire executes it after all that was sent meanwhile.
func TestRelease_NeverOvertakesItsAcquire(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		for _, won := range []bool{true, false} {
			began, key := time.Now(), ""
			for try := 0; key == "" || len(r.Keys(2, "{lock:"+key+"}:fence")) == 0; try++ {
				if try == 10 { // what was not yet sent when it was released is not sent at all
					harness.Missed(t, began, "the frozen node never executed an acquire")
				}
				key = fmt.Sprintf("won %t, %d", won, try)
				releaseOnAFrozenNode(t, r, key, won)
			}
		}
	})
}

// releaseOnAFrozenNode makes an attempt while node 2 is frozen, that is won and released, or is refused by the others and
// fails; and then has the node go on.
func releaseOnAFrozenNode(t *testing.T, r *rig, key string, won bool) {
	t.Helper()
	ctx, began := context.Background(), time.Now()
	c := r.open(patient)
	red := r.redlock(c, Config{TTL: lasting})
	warm(t, red)
	if err := r.Clients[2].ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Clients[2].ScriptLoad(ctx, wakeSource+releaseSource).Err(); err != nil {
		t.Fatal(err)
	}
	if !won { // a split
		r.Put(0, "lock:"+key, "another's", time.Minute)
		r.Put(1, "lock:"+key, "a third's", time.Minute)
	}
	r.pause(2)
	h, err := red.Acquire(ctx, key, Request{})
	switch {
	case won && err == nil:
		err = h.Release(ctx)
	case !won && errors.Is(err, ErrNotAcquired):
		err = nil
		r.Clients[0].Del(ctx, "lock:"+key)
		r.Clients[1].Del(ctx, "lock:"+key)
	}
	harness.Must(t, began, err)
	r.resume(2)
	r.goneEverywhere(c, "lock:"+key)
}

func TestAcquire_SendsNoReleaseToNodesThatRefused(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		warm(t, r.redlock(nil, Config{}))
		r.Put(0, "lock:k", "another's", time.Minute)
		r.Put(1, "lock:k", "another's", time.Minute)
		before := []int64{r.scripts(0), r.scripts(1), r.scripts(2)}
		c := r.open(patient)
		r.pause(0, 1) // so that the free node is asked before all is over
		red := r.redlock(c, Config{TTL: lasting})
		failed := harness.Async(func() error { _, err := red.Acquire(context.Background(), "k", Request{}); return err })
		harness.Eventually(t, "the free node grants it", func() bool { return r.Get(2, "lock:k") != "" })
		r.resume(0, 1)
		as[*NotAcquiredError](t, harness.Receive(t, "the end of the attempt", failed))
		harness.Eventually(t, "and is given back", func() bool { return r.Get(2, "lock:k") == "" })
		harness.Close(t, c)
		for i, want := range []int64{1, 1, 2} {
			if got := r.scripts(i) - before[i]; got != want {
				t.Errorf("node %d was asked %d times, want %d", i, got, want)
			}
		}
	})
}

func TestNotAcquiredError_NamesTheHolderAndTheTimeLeft(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		holder := r.redlock(nil, Config{TTL: 20 * time.Second, Owner: "web-7:81"})
		h := acquireEverywhere(t, holder, "k", Request{})
		_, err := r.redlock(nil, Config{}).Acquire(context.Background(), "k", Request{})
		held := as[*NotAcquiredError](t, err)
		if !errors.Is(err, ErrNotAcquired) || errors.Is(err, nodeset.ErrNoQuorum) {
			t.Errorf("%v matches the wrong sentinels", err)
		}
		if held.Key != "k" || held.Need != 2 || held.Got != 0 || held.Split || held.Err != nil {
			t.Errorf("%+v", held)
		}
		if held.FreeIn <= 0 || held.FreeIn > 20*time.Second {
			t.Errorf("free in %v", held.FreeIn)
		}
		refused := 0
		for _, a := range held.Answers {
			if a.Result != Refused {
				continue
			}
			refused++
			if a.Holder != "web-7:81" || a.Left <= 0 || a.Left > 20*time.Second || a.Err != nil {
				t.Errorf("%+v", a)
			}
		}
		if refused < 2 || len(held.Answers) != 3 {
			t.Errorf("answers = %v", held.Answers)
		}
		if text := err.Error(); !strings.Contains(text, `"k"`) || !strings.Contains(text, "web-7:81") || !strings.Contains(text, "0 of the 2") {
			t.Errorf("text: %s", text)
		}
		_ = h.Release(context.Background())
	})
}

func TestNotAcquiredError_FreeInIsWhenAQuorumCouldBeFree(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		const unknown = -time.Millisecond
		for _, tc := range []struct {
			name    string
			holders string           // of those that refused, a letter each
			left    [5]time.Duration // in s
			freeIn  time.Duration
			split   bool
		}{
			{"one holder", "aaaaa", [5]time.Duration{50, 20, 30, 10, 40}, 30, false},
			{"one holder, and two that have not answered", "aaa", [5]time.Duration{30, 20, 10}, 10, false},
			{"one holder, and one that has not answered", "aaaa", [5]time.Duration{30, 20, 10, 40}, 20, false},
			{"no TTL", "aaaaa", [5]time.Duration{unknown, unknown, unknown, unknown, unknown}, unknown, false},
			{"mostly no TTL", "aaaaa", [5]time.Duration{10, unknown, unknown, unknown, 20}, unknown, false},
			{"no TTL on a minority", "aaaaa", [5]time.Duration{10, unknown, 30, unknown, 20}, 30, false},
			{"one of two has a quorum", "aabbb", [5]time.Duration{10, 20, 30, 40, 50}, 30, false},
			{"nobody has a quorum", "aabbc", [5]time.Duration{10, 20, 30, 40, 50}, 30, true},
			{"too few refused to say so", "ab", [5]time.Duration{10, 20}, 0, true},
		} {
			h, err := red.newHold("k", Request{})
			must(t, err)
			for i := range tc.holders {
				left := tc.left[i]
				if left > 0 {
					left *= time.Second
				}
				h.members[i] = nodeState{result: Refused, lastReply: &lastReply{holder: tc.holders[i : i+1], left: left}}
			}
			if tc.freeIn > 0 {
				tc.freeIn *= time.Second
			}
			if freeIn, split := h.outlookLocked(); freeIn != tc.freeIn || split != tc.split {
				t.Errorf("%s: free in %v, split %t; want %v, %t", tc.name, freeIn, split, tc.freeIn, tc.split)
			}
		}
	})
}

func TestNotAcquiredError_NamesNoHolderForASplitVote(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		warm(t, red)
		for i, holder := range []string{"a", "b", "c"} {
			r.Put(i, "lock:k", holder, 20*time.Second)
		}
		_, err := red.Acquire(context.Background(), "k", Request{})
		if held := as[*NotAcquiredError](t, err); !held.Split {
			t.Errorf("%+v", held)
		}
		r.Put(1, "lock:k", "a", 20*time.Second)
		r.Put(2, "lock:k", "a", 20*time.Second)
		_, err = red.Acquire(context.Background(), "k", Request{})
		if held := as[*NotAcquiredError](t, err); held.Split || held.FreeIn <= 0 || held.FreeIn > 20*time.Second {
			t.Errorf("%+v", held)
		}
	})
}

func TestAcquire_WithTooFewNodesNamesEach(t *testing.T) {
	onNodes(t, 5, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		warm(t, red)
		for _, i := range []int{0, 2, 4} {
			r.Stop(i)
		}
		for _, known := range []bool{false, true} {
			if known {
				harness.Eventually(t, "the nodes are known to be down", func() bool {
					s := c.Status()
					return !s[0].Up && !s[2].Up && !s[4].Up
				})
			}
			_, err := red.Acquire(context.Background(), "k", Request{})
			quorum := as[*nodeset.QuorumError](t, err)
			if !errors.Is(err, nodeset.ErrNoQuorum) || errors.Is(err, ErrNotAcquired) || errors.Is(err, nodeset.ErrNodeDown) != known {
				t.Errorf("known to be down: %t: %v matches the wrong sentinels", known, err)
			}
			if quorum.Op != "acquire" || quorum.Key != "k" || quorum.Need != 3 || quorum.Got > 2 || len(quorum.Nodes) != 3 {
				t.Errorf("%+v", quorum)
			}
			for j, i := range []int{0, 2, 4} {
				name := c.Nodes()[i].Name()
				if quorum.Nodes[j].Node != name || quorum.Nodes[j].Err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%v does not name node %d, %s", err, i, name)
				}
				if !errors.Is(err, quorum.Nodes[j].Err) {
					t.Errorf("%v is not in the chain", quorum.Nodes[j].Err)
				}
			}
			harness.Eventually(t, "what was granted is given back", func() bool { return len(r.Having("lock:k")) == 0 })
		}
	})
}

// A node's own error, such as that its fence counter is something else, is reachable, whatever the kind of the failure.
func TestAcquire_ErrorsOfNodesAreInTheChain(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open(patient)
		red := r.redlock(c, Config{TTL: lasting})
		r.Put(0, "{lock:k}:fence", "no number", time.Minute)
		r.Put(1, "lock:k", "another's", time.Minute)
		r.pause(1, 2)
		h, err := red.newHold("k", Request{})
		must(t, err)
		h.ask(false)
		r.resume(2)
		harness.Eventually(t, "two have answered", func() bool {
			got := results(h)
			return got[0] == Failed && got[2] == Granted
		})
		r.resume(1)
		harness.Receive(t, "the end of the attempt", h.settled)
		h.mu.Lock()
		err = h.err
		h.mu.Unlock()
		var node *nodeset.NodeError
		var reply redis.Error
		if held := as[*NotAcquiredError](t, err); held.Got != 1 {
			t.Errorf("%+v", held)
		}
		if !errors.As(err, &node) || node.Node != c.Nodes()[0].Name() || !errors.As(err, &reply) {
			t.Errorf("the node's error is not in the chain of %v", err)
		}
		r.goneExcept(c, "lock:k", 1)
	})
}

func TestConfig_ErrorsNameEveryField(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		try := func(key string, req Request) error {
			_, err := red.Acquire(context.Background(), key, req)
			return err
		}
		make := func(cfg Config) error {
			_, err := NewRedlock(c, cfg)
			return err
		}
		for _, tc := range []struct {
			err   error
			names []string
		}{
			{try("", Request{}), []string{"key"}},
			{try(strings.Repeat("x", MaxKeyLen+1), Request{}), []string{"key"}},
			{try("k", Request{TTL: 9 * time.Millisecond}), []string{"TTL"}},
			{try("k", Request{TTL: -time.Second}), []string{"TTL"}},
			{try("k", Request{TTL: 61 * time.Second}), []string{"TTL"}},
			{try("k", Request{Owner: "two\nlines"}), []string{"Owner"}},
			{try("k", Request{Owner: "\x7f"}), []string{"Owner"}},
			{try("k", Request{Owner: strings.Repeat("x", maxOwnerLen+1)}), []string{"Owner"}},
			{try("k", Request{TokenBlock: -1}), []string{"Request.TokenBlock"}},
			{try("k", Request{TokenBlock: MaxTokenBlock + 1}), []string{"Request.TokenBlock"}},
			{try("", Request{TTL: 1, Owner: "\x00", TokenBlock: MaxTokenBlock + 1}), []string{"key", "TTL", "Owner", "Request.TokenBlock"}},
			{make(Config{TTL: time.Hour}), []string{"Config.TTL"}},
			{make(Config{FenceRetention: time.Minute}), []string{"Config.FenceRetention"}},
			{make(Config{HandOver: 2 * time.Second}), []string{"Config.HandOver"}},
			{make(Config{HandOver: -1}), []string{"Config.HandOver"}},
			{make(Config{Prefix: strings.Repeat("x", MaxKeyLen+1)}), []string{"Config.Prefix"}},
			{make(Config{TTL: -1, Owner: "\r", HandOver: 1, FenceRetention: 1}),
				[]string{"Config.TTL", "Config.Owner", "Config.HandOver", "Config.FenceRetention"}},
		} {
			if !errors.Is(tc.err, nodeset.ErrConfig) {
				t.Errorf("%v is no configuration error", tc.err)
				continue
			}
			for _, name := range tc.names {
				if !strings.Contains(tc.err.Error(), ": "+name+": ") {
					t.Errorf("%v does not name %s", tc.err, name)
				}
			}
		}
		for _, req := range []Request{{TTL: 10 * time.Millisecond}, {TTL: 60 * time.Second}, {TokenBlock: MaxTokenBlock}, {Owner: strings.Repeat("x", maxOwnerLen)}} {
			if h, err := red.Acquire(context.Background(), fmt.Sprintf("%+v", req), req); err != nil && !errors.Is(err, ErrNotAcquired) {
				t.Errorf("%+v: %v", req, err)
			} else if h != nil {
				_ = h.Release(context.Background())
			}
		}
	})
}

func TestClose_EveryStepReportsIt(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		h := acquireEverywhere(t, red, "k", Request{})
		harness.Close(t, red.c)
		if _, err := red.Acquire(context.Background(), "k", Request{}); !errors.Is(err, nodeset.ErrClosed) {
			t.Errorf("Acquire = %v", err)
		}
		if err := h.ExtendNow(context.Background(), time.Second); !errors.Is(err, nodeset.ErrClosed) {
			t.Errorf("ExtendNow = %v", err)
		}
		if err := h.Release(context.Background()); !errors.Is(err, nodeset.ErrClosed) {
			t.Errorf("Release = %v", err)
		}
	})
}

// A node that restarted and may have lost grants is asked, but its grant is no vote.
func TestVote_NotOfANodeThatMayHaveLostItsData(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		h := acquireEverywhere(t, red, "k", Request{})
		for i := range 2 {
			if err := r.Restart(i, true); err != nil {
				t.Fatal(err)
			}
		}
		harness.Eventually(t, "the restarts are seen", func() bool {
			_, _ = red.Acquire(context.Background(), "other", Request{})
			s := c.Status()
			return s[0].Up && s[1].Up && !s[0].Votes && !s[1].Votes
		})
		_, err := red.Acquire(context.Background(), "new", Request{})
		as[*nodeset.QuorumError](t, err)
		if !errors.Is(err, errQuarantine) {
			t.Errorf("%v does not say why", err)
		}
		if _, err := red.Acquire(context.Background(), "k", Request{}); err == nil {
			t.Error("two nodes that forgot the holder gave the key away")
		}
		harness.Eventually(t, "nothing is left behind", func() bool { return len(r.Having("lock:new")) == 0 })
		_ = h.Release(context.Background())
	})
}

// No error says how to release what is another's, or what is one's own.
func TestErrors_ShowNoValue(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := context.Background()
		c := r.open(impatient)
		red := r.redlock(c, Config{TTL: lasting, Owner: "me"})
		other := r.redlock(r.open(impatient), Config{TTL: lasting, Owner: "other"})
		h := acquireEverywhere(t, red, "k", Request{})
		var errs []error
		keep := func(err error) {
			t.Helper()
			if err == nil {
				t.Error("no error")
			}
			errs = append(errs, err)
		}
		failing := func() error { _, err := other.Acquire(ctx, "k", Request{}); return err }
		keep(failing())
		keep(h.Lost(Reason{Text: "for a test"}))
		for i := range 3 {
			r.Put(i, "lock:k", "bGV0IG1lIGluLCBwbGVhc2U", time.Minute)
		}
		keep(failing())
		keep(h.ExtendNow(ctx, time.Second))
		keep(h.Release(ctx))
		keep(h.Release(ctx))
		for i := range 3 {
			r.Clients[i].Del(ctx, "lock:k")
			r.Clients[i].RPush(ctx, "lock:k", "a list")
		}
		keep(failing())
		r.Flush(0, 1, 2)
		h = acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		keep(h.ExtendNow(ctx, time.Second))
		keep(failing())
		keep(failing())
		dead, cancel := context.WithCancel(ctx)
		cancel()
		keep(h.Release(dead))
		r.resume(0, 1, 2)
		for _, err := range errs {
			for _, secret := range []string{h.Value(), c.Process(), other.c.Process(), "bGV0IG1lIGluLCBwbGVhc2U"} {
				if strings.Contains(err.Error(), secret) || strings.Contains(fmt.Sprintf("%+v", err), secret) {
					t.Errorf("%v shows %s", err, secret)
				}
			}
		}
	})
}

// What an attempt had on less than a quorum is too little for those that wait as well. Whoever was woken would fail too, and
// wake the next. What was given up may have been a quorum.
func TestAbort_OfAnOutvotedAttemptWakesNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		nodes, held int // by somebody else, from the first on
		givenUp     bool
		want        string
	}{
		"outvoted":                  {3, 2, false, "end"},
		"given up":                  {3, 0, true, "wlock:k"},
		"refused by half of two":    {2, 1, false, "end"},
		"refused by half of four":   {4, 2, false, "end"},
		"outvoted by three of five": {5, 3, false, "end"},
	} {
		t.Run(name, func(t *testing.T) {
			onNodes(t, c.nodes, func(t *testing.T, r *rig) {
				for i := range c.held {
					r.Put(i, "lock:k", "somebody", time.Minute)
				}
				last := c.nodes - 1
				waiter := r.open()
				mail := &letters{came: make(chan string, 100)}
				harness.Receive(t, "the mailbox", waiter.Listen(mail))
				z := redis.Z{Score: 1, Member: waiter.Process()}
				if err := r.Clients[last].ZAdd(t.Context(), "{lock:k}:queue", z).Err(); err != nil {
					t.Fatal(err)
				}
				h, err := r.redlock(nil, Config{}).newHold("k", Request{})
				must(t, err)
				h.ask(false)
				harness.Eventually(t, "all nodes have answered", h.landed)
				if c.givenUp {
					h.Abort(context.Canceled)
				}
				harness.Eventually(t, "what it had is given back", func() bool { return r.Get(last, "lock:k") == "" })
				if err := r.Clients[last].Publish(t.Context(), nodeset.Channel(waiter.Process()), "end").Err(); err != nil {
					t.Fatal(err)
				}
				if got := harness.Receive(t, "a message", mail.came); got != c.want {
					t.Errorf("the waiter is sent %q first, want %q", got, c.want)
				}
			})
		})
	}
}
