package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/mutex"
)

// long is a TTL that no test waits for; what comes much sooner did not come by a timer.
const long = 30 * time.Second

// patient is a process whose waiters are woken or wait for the TTL.
func patient(t *testing.T, nodes harness.Set) *Leases {
	return lease(t, open(t, nodes, 5*time.Second), Config{TTL: long, Backoff: hourly})
}

func release(t *testing.T, l *Lease) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, l.Release(t.Context()))
}

// given waits for the lease that was waited for. It must come without a timer's help.
func given(t *testing.T, ch <-chan result) *Lease {
	t.Helper()
	start := time.Now()
	r := harness.Receive(t, "the key", ch)
	harness.Must(t, start, r.err)
	if took := r.at.Sub(start); took > long/6 {
		harness.Missed(t, start, "the key came after %v, with a TTL of %v", took, long)
	}
	return r.l
}

func TestAReleaseInOneProcessWakesTheWaiterInAnother(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, other := patient(t, nodes), patient(t, nodes)
		clients := nodeClients(t, nodes)
		l := acquire(t, s, "job", Request{})
		for range 10 {
			waiter := await(t.Context(), other, "job", Request{})
			harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 1))
			start := time.Now()
			release(t, l)
			l = given(t, waiter)
			t.Logf("woken and served in %v", time.Since(start))
			s, other = other, s
		}
	})
}

func TestWaitersOfOtherProcessesAreServedInTurn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, patient(t, nodes), "job", Request{})
		clients := nodeClients(t, nodes)
		var waiters []<-chan result
		for i := range 4 {
			waiters = append(waiters, await(t.Context(), patient(t, nodes), "job", Request{}))
			harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", int64(i+1)))
		}
		for i, w := range waiters {
			release(t, l)
			l = given(t, w)
			for _, later := range waiters[i+1:] {
				if len(later) > 0 {
					t.Fatalf("waiter %d was overtaken", i)
				}
			}
		}
	})
}

// The mailbox belongs to the process; that one Leases has opened it does not make another hear.
func TestEveryLeasesOfAProcessIsWoken(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, 2*time.Second)
		first := lease(t, c, Config{TTL: long, Backoff: hourly})
		harness.Receive(t, "the mailbox", first.Listen())
		second := lease(t, c, Config{TTL: long, Backoff: hourly})
		l := acquire(t, patient(t, nodes), "job", Request{})
		waiter := await(t.Context(), second, "job", Request{})
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, nodeClients(t, nodes), "job", 1))
		release(t, l)
		release(t, given(t, waiter))
	})
}

func TestTheKeyOfACrashedProcessIsTakenWhenItExpires(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		crashed := open(t, nodes, soon)
		s, err := New(crashed, Config{TTL: short})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		acquire(t, s, "job", Request{})
		waiter := await(t.Context(), lease(t, open(t, nodes, 0), Config{Backoff: hourly}), "job", Request{})
		clients := nodeClients(t, nodes)
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 1))
		must(t, crashed.Close(t.Context())) // without a release
		var expiries []time.Time
		for _, c := range clients {
			expiries = append(expiries, time.Now().Add(c.PTTL(t.Context(), "lock:job").Val()))
		}
		slices.SortFunc(expiries, time.Time.Compare)
		expiry := expiries[1] // when a quorum is free
		r := harness.Receive(t, "the key", waiter)
		if r.err != nil {
			t.Fatal(r.err)
		}
		late := r.at.Sub(expiry)
		t.Logf("taken %v after it expired", late)
		if late < -10*time.Millisecond {
			t.Errorf("it was taken %v before it expired", -late)
		}
		if late > time.Second { // in virtual time: 50 ms
			harness.Missed(t, began, "it was taken %v after it expired", late)
		}
		s.Close(t.Context())
	})
}

func TestACancelledWaiterLeavesEveryQueueAndTheNextIsWoken(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, patient(t, nodes), "job", Request{})
		clients := nodeClients(t, nodes)
		ctx, cancel := context.WithCancel(t.Context())
		first := await(ctx, patient(t, nodes), "job", Request{})
		harness.Eventually(t, "the first to stand in the queues", queues(t, clients, "job", 1))
		second := await(t.Context(), patient(t, nodes), "job", Request{})
		harness.Eventually(t, "the second to stand in the queues", queues(t, clients, "job", 2))
		cancel()
		if r := harness.Receive(t, "the first to give up", first); !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, ErrNotAcquired) {
			t.Errorf("the wait ended by %v", r.err)
		}
		harness.Eventually(t, "the first to be gone from every queue", queues(t, clients, "job", 1))
		release(t, l)
		given(t, second)
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
	})
}

// The nodes know the process: it stays in their queues as long as any Leases on its Cluster wait.
func TestWhoGivesUpLeavesTheQueuesToTheOtherLeasesOfItsProcess(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, patient(t, nodes), "job", Request{})
		clients := nodeClients(t, nodes)
		one := patient(t, nodes)
		other := lease(t, one.c, one.cfg)
		stays := await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		ctx, cancel := context.WithCancel(t.Context())
		quits := await(ctx, one, "job", Request{})
		harness.Eventually(t, "the other wait to begin", func() bool { one.waiting.mu.Lock(); defer one.waiting.mu.Unlock(); return len(one.waiting.at) == 1 })
		cancel()
		if r := harness.Receive(t, "who gives up", quits); !errors.Is(r.err, context.Canceled) {
			t.Errorf("the wait ended by %v", r.err)
		}
		if _, _, err := one.Leader(t.Context(), "nothing"); err != nil { // every node answers, after all that was sent before
			t.Fatal(err)
		}
		if !queues(t, clients, "job", 1)() {
			t.Error("the process left the queues, and waits")
		}
		release(t, l)
		release(t, given(t, stays))
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
	})
}

// The cancellation meets the wake: the key may be kept for a process that does not want it any more.
func TestAWakeThatMeetsACancelledWaiterGoesToTheNext(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, quitter, other := patient(t, nodes), patient(t, nodes), patient(t, nodes)
		clients := nodeClients(t, nodes)
		for i := range 30 {
			key := fmt.Sprint("job", i)
			l := acquire(t, s, key, Request{})
			ctx, cancel := context.WithCancel(t.Context())
			first := await(ctx, quitter, key, Request{})
			harness.Eventually(t, "the first to stand in the queues", queues(t, clients, key, 1))
			second := await(t.Context(), other, key, Request{})
			harness.Eventually(t, "the second to stand in the queues", queues(t, clients, key, 2))
			go cancel()
			release(t, l)
			if r := harness.Receive(t, "the first", first); r.err == nil {
				release(t, r.l)
			}
			release(t, given(t, second))
			harness.Eventually(t, "every queue to be empty", queues(t, clients, key, 0))
		}
	})
}

func TestAWaiterWhoseFirstLookIsCutShortLeavesNoTrace(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, slow := newMemory(t, 3), &gate{}
		s := lease(t, nodes.open(t, slow), Config{})
		<-s.Listen()
		for _, n := range nodes {
			n.Set("lock:job", "somebody")
		}
		slow.delay.Store(int64(50 * time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := s.Acquire(ctx, "job")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNotAcquired) {
			t.Errorf("the wait ended by %v", err)
		}
		time.Sleep(time.Second)
		for i, n := range nodes {
			if n.Exists("{lock:job}:queue") {
				t.Errorf("it stands in the queue of node %d", i)
			}
		}
	})
}

func TestWhoWinsAgainstAMinorityLeavesTheQueuesOfTheNodesThatRefused(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, clients := patient(t, nodes), nodeClients(t, nodes)
		for i := range 10 {
			key := fmt.Sprint("job", i)
			for _, c := range clients[:2] {
				if err := c.Set(t.Context(), "lock:"+key, "somebody", long).Err(); err != nil {
					t.Fatal(err)
				}
			}
			waiter := await(t.Context(), s, key, Request{})
			harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, key, 1))
			if err := clients[1].Del(t.Context(), "lock:"+key).Err(); err != nil {
				t.Fatal(err)
			}
			s.waiting.notifyAll("lock:" + key)
			given(t, waiter)
			harness.Eventually(t, "every queue to be empty", queues(t, clients, key, 0))
		}
	})
}

func TestWhoStillWaitsInAProcessThatWonKeepsAPlaceInTheQueues(t *testing.T) {
	t.Parallel()
	for name, win := range map[string]func(context.Context, *Leases, ...Option) (*Lease, error){
		"Acquire": func(ctx context.Context, s *Leases, opts ...Option) (*Lease, error) {
			return s.Acquire(ctx, "job", opts...)
		},
		"TryAcquire": func(ctx context.Context, s *Leases, opts ...Option) (*Lease, error) {
			return s.TryAcquire(ctx, "job", opts...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
				s, clients := patient(t, nodes), nodeClients(t, nodes)
				taken(t, clients, "job")
				waiter := await(t.Context(), s, "job", Request{})
				harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 1))
				vanish(t, clients, "job")
				l, err := win(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if !queues(t, clients, "job", 1)() {
					t.Error("the process has left the queues, and waits")
				}
				release(t, l)
				given(t, waiter)
			})
		})
	}
}

// A process that has won goes behind the others, although others in it wait all the time.
func TestAProcessInWhichManyWaitStarvesNoOther(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		clients := nodeClients(t, nodes)
		s, other := patient(t, nodes), patient(t, nodes)
		l := acquire(t, patient(t, nodes), "job", Request{})
		mine := make(chan result, 64) // more than there are
		waits := func() {
			go func() {
				l, err := s.Await(t.Context(), "job", Request{})
				mine <- result{l: l, err: err}
			}()
		}
		waits()
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		waits()
		theirs := await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "both processes to stand in the queues", queues(t, clients, "job", 2))
		release(t, l)
		for turns := 0; ; turns++ {
			select {
			case r := <-theirs:
				if r.err != nil {
					t.Fatal(r.err)
				}
				return
			case r := <-mine:
				if r.err != nil {
					t.Fatal(r.err)
				}
				if turns == 20 {
					t.Fatal("a process had twenty turns while another waited")
				}
				waits()
				release(t, r.l)
			}
		}
	})
}

// So it does when one wins who does not wait.
func TestWhoComesByStarvesNoOtherProcess(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		clients := nodeClients(t, nodes)
		taken(t, clients, "job")
		s, other := patient(t, nodes), patient(t, nodes)
		mine := await(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		theirs := await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "both processes to stand in every queue", func() bool {
			return !slices.ContainsFunc(queued(t, clients, "job"), func(n int64) bool { return n != 2 })
		})
		vanish(t, clients, "job")
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		harness.Eventually(t, "the other to be first wherever it stands", func() bool {
			return !slices.ContainsFunc(clients, func(c *redis.Client) bool {
				queue := c.ZRange(t.Context(), "{lock:job}:queue", 0, -1).Val()
				return slices.Index(queue, other.Cluster().Process()) > 0
			})
		})
		release(t, l)
		for range 2 {
			select {
			case r := <-mine:
				release(t, r.l)
			case r := <-theirs:
				release(t, r.l)
			}
		}
	})
}

func TestAnotherLookAsksForNoMoreTokensThanTheClockAllows(t *testing.T) {
	for _, c := range []struct {
		span  int
		since time.Duration
		want  int
	}{
		{0, 0, 0}, {1, time.Hour, 1}, {64, 0, 64}, {65536, 0, 64}, {65536, time.Millisecond, 125},
		{65536, 50 * time.Millisecond, 6250}, {65536, time.Hour, 65536},
	} {
		if got := blockSince(c.span, c.since); got != c.want {
			t.Errorf("blockSince(%d, %v) = %d, want %d", c.span, c.since, got, c.want)
		}
	}
}

// Looking in vain costs no place in any queue, also where a node grants the key to an attempt that the others refuse.
func TestWhoIsOutvotedKeepsItsPlaceInEveryQueue(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		clients := nodeClients(t, nodes)
		taken(t, clients, "job")
		c := clients[2]
		queue := func() []string { return c.ZRange(t.Context(), "{lock:job}:queue", 0, -1).Val() }
		first, second := patient(t, nodes), patient(t, nodes)
		await(t.Context(), first, "job", Request{})
		harness.Eventually(t, "the first to stand in the queue", func() bool { return len(queue()) == 1 })
		await(t.Context(), second, "job", Request{})
		harness.Eventually(t, "the second to stand in the queue", func() bool { return len(queue()) == 2 })
		before := queue()
		if err := c.Del(t.Context(), "lock:job").Err(); err != nil { // nobody is told
			t.Fatal(err)
		}
		harness.Eventually(t, "the node to have granted the key", func() bool {
			first.waiting.notifyAll("lock:job")
			return c.Exists(t.Context(), "{lock:job}:fence").Val() == 1
		})
		if after := queue(); !slices.Equal(after, before) {
			t.Errorf("the queue %v became %v", before, after)
		}
	})
}

// A wake travels beside the release of the other nodes. Who looks before that is there is refused, and stands in the way.
func TestAWaiterLooksWhenAQuorumSaysThatItIsItsTurn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 5)
		s := lease(t, nodes.open(t, &gate{}), Config{TTL: long, Backoff: hourly})
		<-s.Listen()
		waiting := func() <-chan result {
			for _, n := range nodes {
				n.Set("lock:job", "somebody")
			}
			w := await(t.Context(), s, "job", Request{})
			synctest.Wait()
			for _, n := range nodes { // nobody is told
				n.Del("lock:job")
			}
			return w
		}
		wake := func(i int) {
			s.waiting.Message(s.c.Nodes()[i], "wlock:job")
			synctest.Wait()
		}

		start, w := time.Now(), waiting()
		wake(0)
		wake(3)
		wake(3)
		if len(w) > 0 {
			t.Fatal("it looked when two nodes of five had woken it")
		}
		wake(4)
		if len(w) == 0 || time.Since(start) != 0 {
			t.Fatal("it did not look at once when a quorum had woken it")
		}
		release(t, given(t, w))

		// The others may have been lost.
		start, w = time.Now(), waiting()
		wake(1)
		r := <-w
		if took := r.at.Sub(start); r.err != nil || took <= 0 || took > 10*time.Millisecond {
			t.Errorf("it looked %v after one node had woken it: %v", took, r.err)
		}
		release(t, r.l)
	})
}

// Each wait in a process may have put it into the queues, also one that has ended.
func TestTheLastToWinInAProcessLeavesTheQueuesForAllOfThem(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, clients := patient(t, nodes), nodeClients(t, nodes)
		l := acquire(t, patient(t, nodes), "job", Request{})
		first := await(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		last := s.waiting.join("lock:job") // it is about to make its first attempt, and will not be refused
		release(t, l)
		won := given(t, first)
		release(t, won)
		if !queues(t, clients, "job", 1)() {
			t.Error("the process has left the queues, and waits")
		}
		s.waiting.leave("lock:job", last, false, won.t.hold.Dequeue)
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
	})
}

func TestAfterAGapInItsMailboxEveryWaiterLooksAgain(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, clients := patient(t, nodes), nodeClients(t, nodes)
		taken(t, clients, "job")
		waiter := await(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 1))
		vanish(t, clients, "job")
		if err := nodes.Restart(0, false); err != nil { // which breaks the subscription
			t.Fatal(err)
		}
		given(t, waiter)
	})
}

func TestTheWaitEndsWhenItsPolicyStops(t *testing.T) {
	harness.Beside(t, 1, func(t *testing.T, nodes harness.Set) {
		acquire(t, patient(t, nodes), "job", Request{})
		looks := 0
		s := lease(t, open(t, nodes, 0), Config{Backoff: func() backoff.BackOff {
			return backoff.WithMaxRetries(counting(&looks), 3)
		}})
		_, err := s.Acquire(t.Context(), "job")
		var held *NotAcquiredError
		if !errors.As(err, &held) || held.Err != nil {
			t.Errorf("the wait ended by %v", err)
		}
		if looks != 3 {
			t.Errorf("it looked %d times after it had queued", looks)
		}
		harness.Eventually(t, "every queue to be empty", queues(t, nodeClients(t, nodes), "job", 0))
	})
}

// counting is a policy of short pauses that counts them.
func counting(n *int) backoff.BackOff {
	return &counter{backoff.NewConstantBackOff(time.Millisecond), n}
}

type counter struct {
	backoff.BackOff
	n *int
}

func (c *counter) NextBackOff() time.Duration { *c.n++; return c.BackOff.NextBackOff() }

func TestAnIdleWaiterLooksNoMoreOftenThanItsPolicySays(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		acquireAtOnce(t, lease(t, nodes.open(t, &gate{}), Config{}), "job", Request{})
		var looks atomic.Int64
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: func() backoff.BackOff {
			return &everyMinute{&looks}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
		defer cancel()
		if _, err := s.Acquire(ctx, "job"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		// The holder's TTL is ten seconds and it renews at a third of it, so the key could be free every ten seconds.
		if n := looks.Load(); n < 10 || n > 600/6 {
			t.Errorf("it looked %d times in ten minutes", n)
		}
	})
}

type everyMinute struct{ looks *atomic.Int64 }

func (p *everyMinute) NextBackOff() time.Duration { p.looks.Add(1); return time.Minute }
func (p *everyMinute) Reset()                     {}

func TestAWaitEndsAtOnceWhenTheLeasesAreClosed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		acquire(t, patient(t, nodes), "job", Request{})
		s, clients := patient(t, nodes), nodeClients(t, nodes)
		waiter := await(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 1))
		must(t, s.Close(t.Context()))
		if r := harness.Receive(t, "the wait to end", waiter); !errors.Is(r.err, ErrClosed) {
			t.Errorf("the wait ended by %v", r.err)
		}
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
		if _, err := s.Acquire(t.Context(), "job"); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire after Close: %v", err)
		}
		if _, err := s.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrClosed) {
			t.Errorf("TryAcquire after Close: %v", err)
		}
	})
}

func TestTheTurnOfAProcessInWhichNobodyWaitsIsPassedOn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, absent, other := patient(t, nodes), patient(t, nodes), patient(t, nodes)
		harness.Receive(t, "the mailbox", absent.Listen())
		l := acquire(t, s, "job", Request{})
		clients := nodeClients(t, nodes)
		harness.Eventually(t, "every node to have granted the key", func() bool { // or it is not released there
			return !slices.ContainsFunc(clients, func(c *redis.Client) bool { return c.Get(t.Context(), "lock:job").Err() != nil })
		})
		for _, c := range clients { // it stands in the queues, first, but nobody in it waits
			z := redis.Z{Score: 1, Member: absent.Cluster().Process()}
			if err := c.ZAdd(t.Context(), "{lock:job}:queue", z).Err(); err != nil {
				t.Fatal(err)
			}
		}
		waiter := await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, clients, "job", 2))
		release(t, l)
		given(t, waiter)
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
	})
}

func TestAHolderHearsThatAnotherProcessBeganToWait(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, other := patient(t, nodes), patient(t, nodes)
		harness.Receive(t, "the mailbox", s.Listen())
		l := acquire(t, s, "job", Request{TokenBlock: 2})
		if since := l.Contended(); !since.IsZero() {
			t.Fatalf("contended since %v", since)
		}
		await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the news", func() bool { return !l.Contended().IsZero() })
		if next := handOver(t, l); next.Contended().IsZero() {
			t.Error("the hand-over forgot it")
		}
	})
}

func TestAProcessThatBeganToWaitBeforeTheLeaseWasKnownIsHeard(t *testing.T) {
	s := patient(t, harness.Embedded(t, 1))
	harness.Receive(t, "the mailbox", s.Listen())
	p, err := s.plan(t.Context(), "job", Request{TokenBlock: 2})
	if err != nil {
		t.Fatal(err)
	}
	tenure := s.expect(p)
	hold, err := s.red.Acquire(t.Context(), "job", mutex.Request{TokenBlock: 2})
	must(t, err)
	s.waiting.Message(nil, "qlock:job") // a node is faster with this than another with its grant
	l, ok := s.keep(tenure, hold, p)
	if !ok || l.Contended().IsZero() {
		t.Error("nobody is known to wait")
	}
	if failed := s.expect(p); len(s.shared) == 1 {
		s.forget(failed) // of an attempt that is refused, because the lease stands
	}
	if s.shared["lock:job"] != l.t {
		t.Error("an attempt that failed took the lease's place")
	}
	release(t, l)
	if len(s.shared) != 0 {
		t.Errorf("%d spans are left", len(s.shared))
	}
}

func TestALeaseAcquiredBeforeTheMailboxStoodIsTakenForContended(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := patient(t, nodes)
		if l := acquire(t, s, "early", Request{TokenBlock: 2}); l.Contended().IsZero() {
			t.Error("the lease would be handed on whoever else waits")
		}
		harness.Receive(t, "the mailbox", s.Listen())
		if l := acquire(t, s, "late", Request{TokenBlock: 2}); !l.Contended().IsZero() {
			t.Error("nobody waits for the lease")
		}
	})
}
