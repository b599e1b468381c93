package keepalive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
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

func TestWake_AReleaseWakesTheWaiterOfAnotherProcess(t *testing.T) {
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

func TestWait_ProcessesAreServedInTurn(t *testing.T) {
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
func TestWake_ReachesEveryLeasesOfAProcess(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, 2*time.Second)
		first := lease(t, c, Config{TTL: long, Backoff: hourly})
		harness.Receive(t, "the mailbox", first.opened)
		second := lease(t, c, Config{TTL: long, Backoff: hourly})
		l := acquire(t, patient(t, nodes), "job", Request{})
		waiter := await(t.Context(), second, "job", Request{})
		harness.Eventually(t, "the waiter to stand in the queues", queues(t, nodeClients(t, nodes), "job", 1))
		release(t, l)
		release(t, given(t, waiter))
	})
}

func TestWait_ACrashedProcesssKeyIsAcquiredWhenItExpires(t *testing.T) {
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

func TestWait_CancelledLeavesEveryQueueAndWakesTheNext(t *testing.T) {
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
func TestWait_CancelledLeavesTheQueuesToTheOtherLeasesOfItsProcess(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, patient(t, nodes), "job", Request{})
		clients := nodeClients(t, nodes)
		one := patient(t, nodes)
		other := lease(t, one.c, one.cfg)
		stays := await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		ctx, cancel := context.WithCancel(t.Context())
		quits := await(ctx, one, "job", Request{})
		harness.Eventually(t, "the other wait to begin", func() bool { return one.queues.Snapshot("lock:job").Contenders == 2 })
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
func TestWake_RacingACancellationGoesToTheNext(t *testing.T) {
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

func TestWait_CancelledDuringItsFirstAttemptLeavesNothing(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, slow := newMemory(t, 3), &gate{}
		s := lease(t, nodes.open(t, slow), Config{})
		<-s.opened
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

func TestWait_AWinnerLeavesTheQueuesOfTheNodesThatRefused(t *testing.T) {
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
			s.queues.Retry("lock:" + key)
			given(t, waiter)
			harness.Eventually(t, "every queue to be empty", queues(t, clients, key, 0))
		}
	})
}

func TestWait_OtherWaitersOfAWinningProcessKeepAPlace(t *testing.T) {
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
func TestWait_AProcessWithManyWaitersStarvesNoOther(t *testing.T) {
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
func TestTryAcquire_StarvesNoWaitingProcess(t *testing.T) {
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
				return slices.Index(queue, other.c.Process()) > 0
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

func TestBlockSince_IsNoMoreThanTheClockAllows(t *testing.T) {
	for _, c := range []struct {
		span  int
		limit int
		since time.Duration
		want  int
	}{
		{0, 0, 0, 0}, {1, 0, time.Hour, 1}, {64, 0, 0, 64}, {65536, 0, 0, 64}, {65536, 0, time.Millisecond, 125},
		{65536, 0, 50 * time.Millisecond, 6250}, {65536, 0, time.Hour, 65536},
		// With a limit a token takes a number for each class.
		{375, 16, 0, 4}, {375, 2, 0, 32}, {375, 16, 8 * time.Millisecond, 62}, {375, 1024, 8 * time.Millisecond, 62}, {3, 16, time.Hour, 3},
	} {
		if got := blockSince(c.span, c.limit, c.since); got != c.want {
			t.Errorf("blockSince(%d, %d, %v) = %d, want %d", c.span, c.limit, c.since, got, c.want)
		}
	}
}

// Looking in vain costs no place in any queue, also where a node grants the key to an attempt that the others refuse.
func TestWait_AnOutvotedAttemptKeepsItsPlaceInEveryQueue(t *testing.T) {
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
		if err := c.Del(t.Context(), "lock:job").Err(); err != nil { // without a wake-up
			t.Fatal(err)
		}
		harness.Eventually(t, "the node to have granted the key", func() bool {
			first.queues.Retry("lock:job")
			return c.Exists(t.Context(), "{lock:job}:fence").Val() == 1
		})
		if after := queue(); !slices.Equal(after, before) {
			t.Errorf("the queue %v became %v", before, after)
		}
	})
}

// A wake travels beside the release of the other nodes. Who looks before that is there is refused, and stands in the way.
func TestWake_TakesAQuorumOfNodes(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 5)
		s := lease(t, nodes.open(t, &gate{}), Config{TTL: long, Backoff: hourly})
		<-s.opened
		waiting := func() <-chan result {
			for _, n := range nodes {
				n.Set("lock:job", "somebody")
			}
			w := await(t.Context(), s, "job", Request{})
			synctest.Wait()
			for _, n := range nodes { // without a wake-up
				n.Del("lock:job")
			}
			return w
		}
		wake := func(i int) {
			mailbox{s.c}.Message(s.c.Nodes()[i], "wlock:job")
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
func TestWait_TheLastWinnerOfAProcessLeavesTheQueues(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, clients := patient(t, nodes), nodeClients(t, nodes)
		l := acquire(t, patient(t, nodes), "job", Request{})
		first := await(t.Context(), s, "job", Request{})
		harness.Eventually(t, "the process to stand in the queues", queues(t, clients, "job", 1))
		last := s.queues.Contend("lock:job") // it is about to make its first attempt, and will not be refused
		release(t, l)
		won := given(t, first)
		release(t, won)
		if !queues(t, clients, "job", 1)() {
			t.Error("the process has left the queues, and waits")
		}
		s.queues.Leave(last, false, won.t.hold.Dequeue)
		harness.Eventually(t, "every queue to be empty", queues(t, clients, "job", 0))
	})
}

func TestWait_EveryWaiterRetriesAfterAGapInTheMailbox(t *testing.T) {
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

func TestWait_EndsWhenBackoffIsNegative(t *testing.T) {
	harness.Beside(t, 1, func(t *testing.T, nodes harness.Set) {
		acquire(t, patient(t, nodes), "job", Request{})
		var attempts []int
		s := lease(t, open(t, nodes, 0), Config{Backoff: func(attempt int) time.Duration {
			if attempts = append(attempts, attempt); attempt > 3 {
				return -1
			}
			return time.Millisecond
		}})
		_, err := s.Acquire(t.Context(), "job")
		var held *NotAcquiredError
		if !errors.As(err, &held) || held.Err != nil {
			t.Errorf("the wait ended by %v", err)
		}
		if want := []int{1, 2, 3, 4}; !slices.Equal(attempts, want) {
			t.Errorf("the attempts were numbered %v, want %v", attempts, want)
		}
		harness.Eventually(t, "every queue to be empty", queues(t, nodeClients(t, nodes), "job", 0))
	})
}

func TestConfig_PausesDoubleUpToTwoSecondsAndNeverEnd(t *testing.T) {
	backoff := Config{}.withDefaults().Backoff
	for attempt, want := range []time.Duration{0, 100, 200, 400, 800, 1600, 2000, 2000} {
		if attempt == 0 {
			continue
		}
		want *= time.Millisecond
		for range 100 {
			if got := backoff(attempt); got < want*3/4 || got > want*5/4 {
				t.Errorf("the pause after attempt %d is %v, want %v and a quarter more or less", attempt, got, want)
			}
		}
	}
	if got := backoff(1 << 40); got < 1500*time.Millisecond {
		t.Errorf("the pause after very many attempts is %v", got)
	}
}

func TestWait_RetriesNoMoreOftenThanItsPolicy(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		acquireAtOnce(t, lease(t, nodes.open(t, &gate{}), Config{}), "job", Request{})
		var looks atomic.Int64
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: func(int) time.Duration {
			looks.Add(1)
			return time.Minute
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

func TestWait_EndsAtOnceWithClose(t *testing.T) {
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

func TestWake_OfAProcessWithoutWaitersIsPassedOn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, absent, other := patient(t, nodes), patient(t, nodes), patient(t, nodes)
		harness.Receive(t, "the mailbox", absent.opened)
		l := acquire(t, s, "job", Request{})
		clients := nodeClients(t, nodes)
		harness.Eventually(t, "every node to have granted the key", func() bool { // or it is not released there
			return !slices.ContainsFunc(clients, func(c *redis.Client) bool { return c.Get(t.Context(), "lock:job").Err() != nil })
		})
		for _, c := range clients { // it stands in the queues, first, but nobody in it waits
			z := redis.Z{Score: 1, Member: absent.c.Process()}
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

func TestContended_WhenAnotherProcessBeginsToWait(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, other := patient(t, nodes), patient(t, nodes)
		harness.Receive(t, "the mailbox", s.opened)
		l := locked(t, s, "job", Request{})
		if since := contended(l); !since.IsZero() {
			t.Fatalf("contended since %v", since)
		}
		await(t.Context(), other, "job", Request{})
		harness.Eventually(t, "the news", func() bool { return !contended(l).IsZero() })
		if next := handOver(t, l); contended(next).IsZero() {
			t.Error("the hand-over forgot it")
		}
	})
}

// It would be woken by the one node alone.
func TestAwait_WaitsForTheMailboxBeforeItQueues(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		holder := acquire(t, lease(t, nodes.open(t, &gate{}), Config{TTL: long}), "job", Request{})
		lossy, subscribe := &gate{}, "subscribe"
		lossy.loses.Store(&subscribe)
		s := lease(t, nodes.open(t, &gate{}, lossy), Config{Backoff: hourly})
		synctest.Wait()
		if !s.c.Nodes()[0].Listening() || s.open() {
			t.Fatal("one node, and no more, should send messages by now")
		}
		w := locking(t.Context(), s, "job", Request{})
		synctest.Wait()
		lossy.loses.Store(nil)
		time.Sleep(time.Minute)
		for i, n := range nodes {
			if queued, _ := n.SortedSet("{lock:job}:queue"); len(queued) != 1 {
				t.Errorf("node %d: %d processes are queued", i, len(queued))
			}
		}
		release(t, holder)
		release(t, given(t, w))
	})
}

// Its first attempts queue nowhere, because no node can notify it yet.
func TestAwait_QueuesWhereANodeCanNotifyItOnlyLater(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		holder := acquire(t, lease(t, nodes.open(t, &gate{}), Config{TTL: long}), "job", Request{})
		lossy, subscribe := &gate{}, "subscribe"
		lossy.loses.Store(&subscribe)
		s := lease(t, nodes.open(t, lossy), Config{Backoff: hourly})
		w := locking(t.Context(), s, "job", Request{})
		time.Sleep(time.Minute)
		lossy.loses.Store(nil)
		time.Sleep(time.Minute)
		release(t, holder)
		released := time.Now()
		release(t, given(t, w))
		if took := time.Since(released); took > time.Second {
			t.Errorf("it was notified %v after the release", took)
		}
	})
}

// A node can be faster with an announcement than another with its grant.
func TestContended_WhenAProcessBeganToWaitBeforeTheLeaseWasKnown(t *testing.T) {
	virtually(t, func(t *testing.T) {
		slow := &gate{}
		s := lease(t, newMemory(t, 3).open(t, slow), Config{})
		<-s.opened
		slow.delay.Store(int64(20 * time.Millisecond))
		w := locking(t.Context(), s, "job", Request{})
		time.Sleep(30 * time.Millisecond)
		if len(w) > 0 {
			t.Fatal("it is acquired already")
		}
		mailbox{s.c}.Message(s.c.Nodes()[0], "qlock:job")
		l := given(t, w)
		if contended(l).IsZero() {
			t.Error("nobody is known to wait")
		}
		release(t, l)
	})
}

// What another process announces before our mailbox is open is lost.
func TestContended_BeforeTheMailboxIsOpen(t *testing.T) {
	virtually(t, func(t *testing.T) {
		lossy, subscribe := &gate{}, "subscribe"
		lossy.loses.Store(&subscribe)
		s := lease(t, newMemory(t, 3).open(t, lossy), Config{TTL: long})
		early := locked(t, s, "early", Request{})
		if contended(early).IsZero() {
			t.Error("the lease would be handed on whoever else waits")
		}
		lossy.loses.Store(nil)
		time.Sleep(time.Minute)
		late := locked(t, s, "late", Request{})
		if !contended(late).IsZero() {
			t.Error("nobody waits for the lease")
		}
		release(t, early)
		release(t, late)
	})
}
