package keepalive

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

var reads = Request{Shared: true}

// A deadline that has passed ends sharing, whether or not a timer has fired.
func TestShared_NobodyJoinsPastTheDeadline(t *testing.T) {
	virtually(t, func(t *testing.T) {
		g := &gate{}
		s := lease(t, newMemory(t, 3).open(t, g), Config{})
		l := locked(t, s, "job", reads)
		req := waitqueue.Request{Want: waitqueue.Want{By: s, Shared: true}, Parent: t.Context()}
		if l.t.Join(req) == nil {
			t.Fatal("nobody can join")
		}
		g.cut()
		l.t.hold.Extend(10*time.Millisecond, func(quorumlock.Verdict) {}) // which the renewer does not know of
		time.Sleep(20 * time.Millisecond)
		if l.t.Join(req) != nil {
			t.Error("one joined past the deadline")
		}
	})
}

// waitToWrite has other wait as a writer whose announcement was lost.
func waitToWrite(t *testing.T, nodes memory, other *Leases) (end func()) {
	t.Helper()
	standIn(t, nodes, other)
	c := other.queues.Contend("lock:job")
	return func() {
		other.queues.Leave(c, true, func(bool) { other.red.LeaveLock("lock:job") })
	}
}

// standIn gives other's process a writer's place in the queues.
func standIn(t *testing.T, nodes memory, other *Leases) {
	t.Helper()
	for _, n := range nodes {
		_, err := n.ZAdd("{lock:job}:queue", 1, other.c.Process())
		must(t, err)
		n.SetTTL("{lock:job}:queue", time.Hour)
	}
}

// A process that lives, and has given up, may still stand in the queues.
func TestShared_APlaceWhoseLeaveWasLostIsLeft(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		third := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		for _, one := range []*Leases{s, other, third} {
			<-one.opened
		}
		l := locked(t, s, "job", reads)
		standIn(t, nodes, other)
		later := locking(t.Context(), third, "job", reads)
		time.Sleep(time.Second)
		if len(later) == 0 {
			t.Fatal("a reader waits for a process that waits for nothing")
		}
		must(t, given(t, later).Release(t.Context()))
		must(t, l.Release(t.Context()))
	})
}

func TestShared_ARenewalReportsTheWriterWhoseAnnouncementWasLost(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		<-s.opened
		<-other.opened
		l := locked(t, s, "job", reads)
		end := waitToWrite(t, nodes, other)
		must(t, locked(t, s, "job", reads).Release(t.Context()))
		time.Sleep(l.t.every + l.t.every/5)
		if contended(l).IsZero() {
			t.Fatal("a renewal later no wait is known")
		}
		later := locking(t.Context(), s, "job", reads)
		time.Sleep(time.Second)
		if len(later) > 0 {
			t.Error("a reader passes the writer")
		}
		end()
		if got := harness.Receive(t, "the reader", later); got.err != nil || got.l.t != l.t {
			t.Errorf("it does not join: %v", got.err)
		}
	})
}

// A writer that is gone, and left its place behind, delays a reader until the next renewal.
func TestShared_AWriterThatIsDeadDelaysNobodyForLong(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		l := locked(t, s, "job", reads)
		for _, n := range nodes {
			n.ZAdd("{lock:job}:queue", 1, "DEAD")
		}
		s.queues.NoteRemoteWait("lock:job", time.Now())
		time.Sleep(time.Millisecond)
		later := locking(t.Context(), s, "job", reads)
		time.Sleep(2 * clockWatch)
		if len(later) == 0 {
			t.Fatal("it still waits")
		}
		if got := <-later; got.err != nil || got.l.t != l.t {
			t.Errorf("it does not join: %v", got.err)
		}
	})
}

// The nodes are asked often for as long as a reader waits, whatever was announced
// meanwhile.
func TestShared_AReaderThatWaitsIsAskedForUntilItIsAnswered(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		l := locked(t, s, "job", reads)
		s.queues.NoteRemoteWait("lock:job", time.Now().Add(clockWatch)) // after the first question
		later := locking(t.Context(), s, "job", reads)
		time.Sleep(4 * clockWatch)
		if len(later) == 0 {
			t.Fatal("it still waits")
		}
		if got := <-later; got.err != nil || got.l.t != l.t {
			t.Errorf("it does not join: %v", got.err)
		}
	})
}

// Readers of several Leases on one set do not wait for each other.
func TestShared_ReadersOfTwoLeasesOnOneSetReadTogether(t *testing.T) {
	virtually(t, func(t *testing.T) {
		set := newMemory(t, 3).open(t, &gate{})
		one, two := lease(t, set, Config{}), lease(t, set, Config{})
		l := locked(t, one, "job", reads)
		next := locked(t, two, "job", reads)
		if next.t == l.t {
			t.Error("one keeps alive what the other has to release")
		}
		must(t, l.Release(t.Context()))
		must(t, next.Err())
		must(t, next.Release(t.Context()))
	})
}

// What refuses a writer may be two readers whose attempts fail, and nothing wakes it
// then. It looks again a few times, and not for as long as they read.
func TestShared_AWriterLooksAgainAtReadersThatMayFail(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		for i, n := range nodes[:2] {
			n.Set("lock:job", "shared")
			n.SetTTL("lock:job", time.Hour)
			n.ZAdd("{lock:job}:readers", float64(time.Now().Add(time.Hour).UnixMilli()), string(rune('A'+i))+"/1/h:1")
		}
		writer := locking(t.Context(), s, "job", Request{})
		time.Sleep(2 * time.Millisecond)
		for _, n := range nodes[:2] {
			n.Del("lock:job")
		}
		time.Sleep(time.Second)
		if len(writer) == 0 {
			t.Fatal("the writer sleeps")
		}
		must(t, given(t, writer).Release(t.Context()))
		l := locked(t, s, "kept", reads)
		_, err := s.Try(t.Context(), "kept", Request{})
		held := outlook(err)
		if d := nextLook(held, time.Hour, 0, looksAtReaders+1); d < l.TTL()/2 {
			t.Errorf("a look after %v at a key that is read for %v", d, l.TTL())
		}
	})
}

// Readers whose MaxHold is over do not keep the key from others.
func TestShared_AKeyIsNotRenewedForReadersPastTheirMaxHold(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		other := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		one := locked(t, s, "job", Request{Shared: true, MaxHold: time.Second})
		two := locked(t, s, "job", Request{Shared: true, MaxHold: time.Minute})
		time.Sleep(30 * time.Second)
		var lost *LostError
		if !errors.As(one.Err(), &lost) || lost.Class != quorumlock.ClassMaxHold || two.Err() != nil {
			t.Errorf("the first: %v; the second: %v", one.Err(), two.Err())
		}
		if _, err := other.Try(t.Context(), "job", Request{}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("another beside the second: %v", err)
		}
		time.Sleep(30*time.Second + s.cfg.TTL + time.Second)
		next := acquireAtOnce(t, other, "job", Request{})
		if err := two.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("the second is released: %v", err)
		}
		must(t, next.Release(t.Context()))
	})
}

// A reader that leaves last, past its MaxHold, frees the key at once.
func TestShared_AReaderPastItsMaxHoldFreesTheKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		one := locked(t, s, "job", Request{Shared: true, MaxHold: time.Second})
		two := locked(t, s, "job", reads)
		time.Sleep(2 * time.Second)
		must(t, two.Release(t.Context()))
		if _, err := other.Try(t.Context(), "job", Request{}); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("another before the work has returned: %v", err)
		}
		if err := one.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("it is released: %v", err)
		}
		acquireAtOnce(t, other, "job", Request{})
	})
}

// What is retained is no reader's, and is given up for one.
func TestShared_AKeyThatIsRetainedIsAcquiredAnew(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{Retain: time.Minute}), lease(t, nodes.open(t, &gate{}), Config{})
		<-s.opened
		must(t, locked(t, s, "job", Request{}).Release(t.Context()))
		l := locked(t, s, "job", reads)
		must(t, locked(t, other, "job", reads).Release(t.Context()))
		must(t, l.Release(t.Context()))
		acquireAtOnce(t, other, "job", Request{})
	})
}

// A leave is sent once, and may be lost. The place of readers that it left does not
// have later readers of that process pass a writer that waits.
func TestShared_APlaceOfReadersWhoseLeaveWasLostPassesNoWriter(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		set := nodes.open(t, &gate{})
		one, two := lease(t, set, Config{Backoff: hourly}), lease(t, set, Config{Backoff: hourly})
		other := lease(t, nodes.open(t, &gate{}), Config{})
		for _, s := range []*Leases{one, two, other} {
			<-s.opened
		}
		for _, n := range nodes {
			_, err := n.ZAdd("{lock:job}:queue", 1, set.Process()+"/shared")
			must(t, err)
			n.SetTTL("{lock:job}:queue", time.Hour)
		}
		last := locked(t, one, "job", reads)
		writer := locking(t.Context(), other, "job", Request{})
		time.Sleep(time.Second)
		ctx := t.Context()
		for i := range 200 { // each begins before the last one ends
			s := []*Leases{two, one}[i%2]
			next := locking(ctx, s, "job", reads)
			time.Sleep(100 * time.Millisecond)
			if len(next) == 0 { // it waits for the writer, as it should
				must(t, last.Release(ctx))
				must(t, given(t, writer).Release(ctx))
				must(t, given(t, next).Release(ctx))
				return
			}
			got := given(t, next)
			must(t, last.Release(ctx))
			last = got
		}
		t.Error("200 readers passed the writer that waits")
		must(t, last.Release(ctx))
		must(t, given(t, writer).Release(ctx))
	})
}

// A reader that does not wait, or joins others that do, finds such a place too.
func TestShared_AReaderThatDoesNotWaitLeavesAPlaceThatWasLost(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		place := s.c.Process() + "/shared"
		try := func() (places []float64) {
			for _, n := range nodes {
				_, err := n.ZAdd("{lock:job}:queue", 4, place)
				must(t, err)
				n.SetTTL("{lock:job}:queue", time.Hour)
			}
			l, err := s.Try(t.Context(), "job", reads)
			must(t, err)
			time.Sleep(time.Millisecond)
			for _, n := range nodes {
				score, _ := n.ZScore("{lock:job}:queue", place)
				places = append(places, score)
			}
			must(t, l.Release(t.Context()))
			time.Sleep(time.Millisecond)
			return places
		}
		if got := try(); slices.Max(got) != 0 {
			t.Errorf("its places are %v", got)
		}
		writes := s.queues.Contend("lock:job")
		if got := try(); slices.Max(got) != 0 {
			t.Errorf("beside a writer that waits, its places are %v", got)
		}
		s.queues.Leave(writes, false, func(bool) {})
		waits := s.queues.ContendShared("lock:job")
		if got := try(); slices.Min(got) <= 4 {
			t.Errorf("beside a reader that waits, its places are %v", got)
		}
		s.queues.Leave(waits, true, func(bool) { s.red.LeaveShared("lock:job") })
	})
}

// Readers that overlap, each of which begins before the last one ends, let a writer
// of their process in that has no part in their queue.
func TestShared_ReadersThatOverlapLetAWriterOfTheirProcessIn(t *testing.T) {
	for name, req := range map[string]Request{"and do not wait": {Shared: true, Bounded: true}, "and wait": reads} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				set := nodes.open(t, &gate{})
				one, two := lease(t, set, Config{Backoff: hourly}), lease(t, set, Config{Backoff: hourly})
				elsewhere := lease(t, nodes.open(t, &gate{}), Config{})
				for _, s := range []*Leases{one, two, elsewhere} {
					<-s.opened
				}
				beside := locked(t, elsewhere, "job", reads)
				last := locked(t, one, "job", reads)
				writer := await(t.Context(), one, "job", Request{})
				time.Sleep(100 * time.Millisecond)
				var behind []<-chan result
				for i := range 20 {
					next := locking(t.Context(), []*Leases{two, one}[i%2], "job", req)
					time.Sleep(100 * time.Millisecond)
					if len(next) == 0 {
						behind = append(behind, next)
					} else if got := <-next; !errors.Is(got.err, ErrNotAcquired) {
						t.Fatalf("reader %d passes the writer: %v", i, got.err)
					}
				}
				if len(behind) != 20 && req.Waits() || len(behind) > 0 && !req.Waits() {
					t.Errorf("%d readers wait", len(behind))
				}
				must(t, last.Release(t.Context()))
				if time.Sleep(100 * time.Millisecond); len(writer) > 0 {
					t.Fatal("a writer beside a reader of another process")
				}
				must(t, beside.Release(t.Context()))
				must(t, given(t, writer).Release(t.Context()))
				for _, next := range behind {
					must(t, given(t, next).Release(t.Context()))
				}
			})
		})
	}
}

// Writers that have no part in the queue, each of which begins before the last one
// ends, let a reader of their process in.
func TestShared_WritersThatOverlapLetAReaderOfTheirProcessIn(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		last, writers := acquireAtOnce(t, s, "job", Request{}), make(chan result, 32)
		write := func() {
			go func() {
				l, err := s.Await(t.Context(), "job", Request{})
				writers <- result{l, err, time.Now()}
			}()
			time.Sleep(100 * time.Millisecond)
		}
		write()
		reader, waiting := locking(t.Context(), s, "job", reads), 1
		for range 20 {
			write()
			waiting++
			must(t, last.Release(t.Context()))
			if time.Sleep(100 * time.Millisecond); len(reader) > 0 {
				must(t, given(t, reader).Release(t.Context()))
				for range waiting {
					must(t, given(t, writers).Release(t.Context()))
				}
				return
			}
			last = given(t, writers)
			waiting--
		}
		t.Fatal("20 writers passed the reader that waits")
	})
}

// Which of several writers of a process acquires the key is chance.
func TestShared_AReaderDoesNotWaitForAWriterThatNeverHasTheKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{Backoff: hourly})
		<-s.opened
		l := acquireAtOnce(t, s, "job", Request{})
		unlucky := s.queues.Contend("lock:job")
		writer := await(t.Context(), s, "job", Request{})
		time.Sleep(100 * time.Millisecond)
		reader := locking(t.Context(), s, "job", reads)
		time.Sleep(100 * time.Millisecond)
		must(t, l.Release(t.Context()))
		must(t, given(t, writer).Release(t.Context()))
		if time.Sleep(time.Second); len(reader) == 0 {
			t.Error("the reader waits")
		}
		s.queues.Leave(unlucky, false, func(bool) {})
		must(t, given(t, reader).Release(t.Context()))
	})
}
