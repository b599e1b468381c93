package keepalive

import (
	"cmp"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// retaining is a process that retains keys for d, and whose mailbox is open.
func retaining(t *testing.T, nodes memory, d time.Duration) *Leases {
	t.Helper()
	s := lease(t, nodes.open(t, &gate{}), Config{TTL: long, Retain: d, Backoff: hourly})
	<-s.opened
	return s
}

// commands is how many commands the nodes have executed.
func (m memory) commands() (n int) {
	for _, node := range m {
		n += node.CommandCount()
	}
	return n
}

// having is on how many nodes there is such a key.
func (m memory) having(key string) (n int) {
	for _, node := range m {
		if node.Exists(key) {
			n++
		}
	}
	return n
}

func TestRetain_TheNextCallerAsksNoNode(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, time.Minute)
		last := int64(0)
		for range 500 { // more than the tokens of the first blocks
			l := locked(t, s, "job", Request{Bounded: last%2 == 0})
			if l.Token() <= last {
				t.Fatalf("token %d after %d", l.Token(), last)
			}
			if last = l.Token(); l.Err() != nil || l.Context().Err() != nil {
				t.Fatal("the lease has ended")
			}
			release(t, l)
			if l.Err() == nil || l.Context().Err() == nil {
				t.Fatal("the lease goes on")
			}
		}
		stats := s.Stats()
		if stats.HandOvers < 490 {
			t.Errorf("%d of 500 were acquired without asking the nodes", stats.HandOvers)
		}
		for range 2 { // what is on its way arrives, such as a refusal by the old block of tokens
			time.Sleep(time.Second)
			release(t, locked(t, s, "job", Request{}))
		}
		time.Sleep(time.Second)
		before := nodes.commands()
		release(t, locked(t, s, "job", Request{}))
		synctest.Wait()
		if asked := nodes.commands() - before; asked > 0 {
			t.Errorf("the nodes executed %d commands", asked)
		}
		if n := nodes.having("lock:job"); n < 2 {
			t.Errorf("%d nodes keep the key", n)
		}
		time.Sleep(70 * time.Second) // TTL, and Retain, over and over
		if n := nodes.having("lock:job"); n != 0 || s.queues.Keys() != 0 {
			t.Errorf("when Retain is over %d nodes keep the key, and there are %d wait queues", n, s.queues.Keys())
		}
	})
}

func TestRetain_IsRenewedUntilItIsOver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, 2*long)
		release(t, locked(t, s, "job", Request{}))
		time.Sleep(long + long/2)
		if n := nodes.having("lock:job"); n != 3 {
			t.Fatalf("%d nodes keep the key after one and a half of its TTLs", n)
		}
		before := s.Stats().HandOvers
		release(t, locked(t, s, "job", Request{}))
		if s.Stats().HandOvers == before {
			t.Error("the nodes were asked")
		}
	})
}

// A process that was stopped may run before its timers do.
func TestRetain_IsOverWithItsBoundOrDeadlineWhateverTimersSay(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := retaining(t, newMemory(t, 3), long)
		release(t, locked(t, s, "job", Request{}))
		kept, _ := s.queues.TakeKept("lock:job").(*renewal)
		if kept == nil {
			t.Fatal("the key is not retained")
		}
		s.renewer.mu.Lock()
		kept.bind(time.Now().Add(-time.Millisecond), time.Time{})
		s.renewer.mu.Unlock()
		if l, ok := s.retake(kept, s.want(Request{TTL: long, Owner: s.cfg.Owner}), Request{Parent: t.Context()}); ok {
			t.Errorf("it is acquired after its bound: %v", l)
		}
		time.Sleep(time.Second)
		l := locked(t, s, "job", Request{})
		release(t, l)
		if time.Until(l.t.hold.Deadline()) < long/2 {
			t.Fatal("it is retained for too short a time")
		}
		kept = s.queues.TakeKept("lock:job").(*renewal)
		kept.ttl = 3 * long // as if more than half of its TTL were over
		if _, ok := s.retake(kept, s.want(Request{TTL: 3 * long, Owner: s.cfg.Owner}), Request{Parent: t.Context()}); ok {
			t.Error("it is acquired although hardly anything of its TTL is left")
		}
	})
}

// It is given up within a message, whoever asks: another process that waits, one
// that does not, and a call of this process that cannot share what is kept.
func TestRetain_IsGivenUpWhenTheKeyIsAskedFor(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, nodes memory, s *Leases) *Lease{
		"a process that waits": func(t *testing.T, nodes memory, _ *Leases) *Lease {
			return locked(t, retaining(t, nodes, 0), "job", Request{})
		},
		"a process that does not wait": func(t *testing.T, nodes memory, _ *Leases) *Lease {
			return locked(t, retaining(t, nodes, 0), "job", Request{Bounded: true})
		},
		"a lease of a process that does not wait": func(t *testing.T, nodes memory, _ *Leases) *Lease {
			return acquireAtOnce(t, retaining(t, nodes, 0), "job", Request{})
		},
		"a lease of this process":     func(t *testing.T, _ memory, s *Leases) *Lease { return acquireAtOnce(t, s, "job", Request{}) },
		"a caller with another TTL":   func(t *testing.T, _ memory, s *Leases) *Lease { return locked(t, s, "job", Request{TTL: long / 2}) },
		"a caller with another owner": func(t *testing.T, _ memory, s *Leases) *Lease { return locked(t, s, "job", Request{Owner: "o"}) },
		"a caller with MinHold":       func(t *testing.T, _ memory, s *Leases) *Lease { return locked(t, s, "job", Request{MinHold: 1}) },
		"another Leases on the same set": func(t *testing.T, _ memory, s *Leases) *Lease {
			return locked(t, lease(t, s.c, s.cfg), "job", Request{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				s := retaining(t, nodes, long)
				first := locked(t, s, "job", Request{})
				release(t, first)
				began := time.Now()
				l := ask(t, nodes, s)
				if took := time.Since(began); took > time.Second || l.Token() <= first.Token() {
					t.Errorf("acquired after %v, with token %d after %d", took, l.Token(), first.Token())
				}
				release(t, l)
			})
		})
	}
}

func TestRetain_ACallerGetsTheTTLAndOwnerThatItWants(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := retaining(t, newMemory(t, 3), long)
		for _, want := range []Request{{}, {TTL: long / 2}, {Owner: "o"}, {MinHold: time.Second}, {}} {
			l := locked(t, s, "job", want)
			if ttl, owner := cmp.Or(want.TTL, long), cmp.Or(want.Owner, s.cfg.Owner); l.TTL() != ttl || l.Owner() != owner {
				t.Errorf("a caller that wants %v and %q gets %v and %q", ttl, owner, l.TTL(), l.Owner())
			}
			if held := want.MinHold > 0; held != (l.t.bounds != nil) {
				t.Errorf("with a MinHold of %v it has the bounds %v", want.MinHold, l.t.bounds)
			}
			release(t, l)
			time.Sleep(2 * want.MinHold)
		}
	})
}

// A key that is in use is refused to a process that does not wait, in bounded time.
func TestRetain_AKeyThatIsHeldIsRefusedSoon(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, long)
		l := locked(t, s, "job", Request{})
		other := retaining(t, nodes, 0)
		began := time.Now()
		_, err := other.Lock(t.Context(), "job", Request{Bounded: true})
		var held *NotAcquiredError
		if !errors.As(err, &held) || held.Err != nil || time.Since(began) > 4*s.c.Config().NodeTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		synctest.Wait()
		for i, n := range nodes {
			if queued, _ := n.SortedSet("{lock:job}:queue"); len(queued) > 0 {
				t.Errorf("node %d: it is still queued", i)
			}
		}
		release(t, l)
		synctest.Wait()
		if n := nodes.having("lock:job"); n != 0 {
			t.Errorf("%d nodes keep a key that another process asked for while it was held", n)
		}
	})
}

// Without messages it would not learn that another process asks.
func TestRetain_EndsWhenMessagesMayBeLost(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, long)
		release(t, locked(t, s, "job", Request{}))
		mailbox{s.c}.Gap(s.c.Nodes()[0])
		synctest.Wait()
		if n := nodes.having("lock:job"); n != 0 {
			t.Errorf("%d nodes keep the key after a gap", n)
		}
		lossy, subscribe := &gate{}, "subscribe"
		lossy.loses.Store(&subscribe)
		deaf := lease(t, nodes.open(t, &gate{}, lossy), Config{TTL: long, Retain: long, Backoff: hourly})
		time.Sleep(time.Minute)
		release(t, locked(t, deaf, "job", Request{}))
		synctest.Wait()
		if n := nodes.having("lock:job"); n != 0 {
			t.Errorf("%d nodes keep the key for a process to which one of three sends messages", n)
		}
	})
}

func TestRetain_CloseReleases(t *testing.T) {
	for name, meanwhile := range map[string]func(s *Leases){
		"kept":                             func(*Leases) {},
		"let go of by the wait queue":      func(s *Leases) { s.queues.NoteRemoteWait("lock:job", time.Now()) },
		"while a function is still called": func(s *Leases) { s.Cancel(ErrClosed) },
	} {
		virtually(t, func(t *testing.T) {
			nodes := newMemory(t, 3)
			s := retaining(t, nodes, long)
			release(t, locked(t, s, "job", Request{}))
			synctest.Wait()
			if meanwhile(s); name != "while a function is still called" {
				must(t, s.Close(t.Context()))
			}
			synctest.Wait()
			if n := nodes.having("lock:job"); n != 0 {
				t.Errorf("%s: %d nodes keep the key", name, n)
			}
		})
	}
}

// Processes that poll do not announce themselves: the key has to come free for them.
func TestRetain_EndsAWhileAfterTheFirstReleaseHoweverOftenTheKeyIsUsed(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, 10*time.Second)
		free := 0
		for range 40 {
			release(t, locked(t, s, "job", Request{}))
			time.Sleep(1300 * time.Millisecond) // the eighth ends after the bound
			if nodes.having("lock:job") == 0 {
				free++
			}
		}
		if free < 3 || free > 6 {
			t.Errorf("of 40 times that the key was about to be used, it was free %d times", free)
		}
	})
}

// A key that the next caller could not lock without the nodes is of no use here.
func TestRetain_AUsedUpBlockIsReleased(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, long)
		for i := range MinTokenBlock {
			release(t, locked(t, s, "job", Request{}))
			time.Sleep(time.Millisecond)
			if n := nodes.having("lock:job"); (n == 0) != (i == MinTokenBlock-1) {
				t.Fatalf("after %d tokens of %d the key is on %d nodes", i+1, MinTokenBlock, n)
			}
		}
	})
}

// A command that has just started is not subscribed yet.
func TestRetain_IsGivenUpToAFreshProcessThatDoesNotWait(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, long)
		release(t, locked(t, s, "job", Request{}))
		release(t, locked(t, lease(t, nodes.open(t, &gate{}), Config{}), "job", Request{Bounded: true}))
	})
}

// The key was taken away, or the nodes lost it to another, while nobody held it.
func TestRetain_WhatIsLostMeanwhileIsAskedForAgain(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := retaining(t, nodes, 2*long)
		first := locked(t, s, "job", Request{})
		release(t, first)
		for _, n := range nodes {
			n.Set("lock:job", "by hand")
			n.SetTTL("lock:job", long)
		}
		time.Sleep(long - time.Second) // a renewal finds it
		if s.queues.Keys() != 0 || s.Stats().Losses != 0 {
			t.Errorf("%d wait queues, %d losses", s.queues.Keys(), s.Stats().Losses)
		}
		time.Sleep(2 * time.Second)
		l := locked(t, s, "job", Request{})
		if l.Token() <= first.Token() {
			t.Errorf("token %d after %d", l.Token(), first.Token())
		}
		release(t, l)
	})
}

func TestConfig_RetainIsBounded(t *testing.T) {
	virtually(t, func(t *testing.T) {
		set := newMemory(t, 1).open(t, &gate{})
		for _, d := range []time.Duration{-1, set.Config().MaxTTL + 1} {
			if _, err := New(set, Config{Retain: d}); err == nil || !errors.Is(err, nodeset.ErrConfig) {
				t.Errorf("Retain %v: %v", d, err)
			}
		}
	})
}
