package keepalive

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// detach is a Detach that has to succeed.
func detach(t *testing.T, l *Lease) (handle string) {
	t.Helper()
	handle, err := l.Detach(t.Context())
	must(t, err)
	return handle
}

func attach(t *testing.T, s *Leases, handle string, opts ...Option) *Lease {
	t.Helper()
	l, err := s.Attach(t.Context(), handle, opts...)
	must(t, err)
	return l
}

func TestMoving_AnotherProcessGoesOnWithTheLease(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		here := lease(t, open(t, nodes, soon), Config{TTL: short})
		there := lease(t, open(t, nodes, soon), Config{TTL: short})
		l, err := here.TryAcquire(t.Context(), "job")
		must(t, err)
		must(t, l.Checkpoint(t.Context(), []byte("half")))
		handle := detach(t, l)

		if cause := context.Cause(l.Context()); cause != ErrDetached || l.Err() != ErrDetached {
			t.Errorf("the context ended by %v, the lease by %v", cause, l.Err())
		}
		for what, err := range map[string]error{
			"Release":    l.Release(t.Context()),
			"Checkpoint": l.Checkpoint(t.Context(), nil),
			"Go":         l.Go(func(context.Context) { t.Error("work began under a lease that was detached") }),
		} {
			if !errors.Is(err, ErrDetached) {
				t.Errorf("%s after Detach: %v", what, err)
			}
		}
		if _, err := l.Detach(t.Context()); !errors.Is(err, ErrDetached) {
			t.Errorf("a second Detach: %v", err)
		}
		if held := len(here.renewer.holders()); held != 0 {
			t.Errorf("%d leases are renewed where it was detached", held)
		}

		next := attach(t, there, handle)
		if data, token, ok := next.LastCheckpoint(); string(data) != "half" || token != l.Token() || !ok {
			t.Errorf("the checkpoint is %q of %d, %t", data, token, ok)
		}
		if next.Key() != "job" || next.Token() <= l.Token() {
			t.Errorf("key %q, token %d after %d", next.Key(), next.Token(), l.Token())
		}
		lives(t, next)
		must(t, next.Release(t.Context()))
		if after := acquire(t, here, "job", Request{}); after.Token() <= next.Token() {
			t.Errorf("token %d came after %d", after.Token(), next.Token())
		}
	})
}

func TestDetach_WaitsForTheWorkAndObeysTheContextOfTheLease(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), steady)
		l := acquire(t, s, "job", Request{MinHold: time.Hour})
		ended, returned := make(chan error, 1), false
		must(t, l.Go(func(ctx context.Context) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			returned = true
		}))
		handle, err := l.Detach(l.Context())
		must(t, err)
		if cause := harness.Receive(t, "the end of the work", ended); cause != ErrDetached || !returned {
			t.Errorf("the work ended by %v, before Detach returned: %t", cause, returned)
		}
		must(t, attach(t, s, handle).Release(t.Context()))
		acquire(t, s, "job", Request{})
	})
}

// The key is released when the work returns: nobody has a handle.
func TestDetach_ThatDoesNotWaitForTheWorkReleasesTheKey(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), steady)
		l := acquire(t, s, "job", Request{})
		works, end := make(chan struct{}), make(chan struct{})
		must(t, l.Go(func(ctx context.Context) {
			<-ctx.Done()
			close(works)
			<-end
		}))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-works
			cancel()
		}()
		if handle, err := l.Detach(ctx); !errors.Is(err, context.Canceled) || handle != "" {
			t.Errorf("cancelled while its work went on: %q, %v", handle, err)
		}
		close(end)
		acquire(t, s, "job", Request{})
	})
}

// Under its own lease's context, which has ended by then, Detach still obeys the
// rest of it.
func TestDetach_UnderItsOwnContextObeysWhatElseEndsThat(t *testing.T) {
	cut := errors.New("cut off")
	for name, want := range map[string]error{"its deadline": context.DeadlineExceeded, "its parent": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
				parent, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				l := acquireAtOnce(t, s, "job", Request{Parent: parent})
				end := make(chan struct{})
				must(t, l.Go(func(ctx context.Context) { <-end }))
				ctx, free := l.Context(), func() {}
				if name == "its deadline" {
					ctx, free = context.WithTimeout(ctx, time.Minute)
				} else {
					time.AfterFunc(time.Minute, func() { cancel(cut) })
				}
				defer free()
				time.AfterFunc(time.Hour, func() { close(end) })
				begun := time.Now()
				if _, err := l.Detach(ctx); !errors.Is(err, want) || time.Since(begun) != time.Minute {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				<-end
			})
		})
	}
}

func TestDetach_UnderADeadContextChangesNothing(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, lease(t, open(t, nodes, 0), steady), "job", Request{})
		dead, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Detach(dead); !errors.Is(err, context.Canceled) || l.Err() != nil {
			t.Errorf("%v; the lease has ended by %v", err, l.Err())
		}
	})
}

// The next caller of the process gets the key when the handle's lease is
// released, not when it is detached.
func TestDetach_HandsTheKeyToNobodyHere(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), steady)
		other := lease(t, open(t, nodes, 0), steady)
		l, err := s.Lock(t.Context(), "job", Request{TokenBlock: 64})
		must(t, err)
		waits := make(chan result, 1)
		go func() {
			l, err := s.Lock(t.Context(), "job", Request{TokenBlock: 64})
			waits <- result{l: l, err: err}
		}()
		harness.Eventually(t, "the caller waits", func() bool { return s.Stats().Queued == 1 })
		next := attach(t, other, detach(t, l))
		harness.Eventually(t, "the caller asks the nodes", func() bool { return s.Stats().Queued == 0 })
		if stats := s.Stats(); stats.HandOvers != 0 || stats.Losses != 0 {
			t.Errorf("%+v", stats)
		}
		select {
		case got := <-waits:
			t.Fatalf("acquired while another process holds it: %v, %v", got.l, got.err)
		default:
		}
		must(t, next.Release(t.Context()))
		got := harness.Receive(t, "the lease of the caller", waits)
		must(t, got.err)
		if got.l.Token() <= next.Token() {
			t.Errorf("token %d came after %d", got.l.Token(), next.Token())
		}
	})
}

func TestDetach_OutlivesClose(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		here, there := lease(t, open(t, nodes, 0), steady), lease(t, open(t, nodes, 0), steady)
		handle := detach(t, acquire(t, here, "job", Request{}))
		must(t, here.Close(t.Context()))
		if _, err := there.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
			t.Errorf("acquired while it is detached: %v", err)
		}
		attach(t, there, handle)
		if _, err := here.Attach(t.Context(), handle); !errors.Is(err, ErrClosed) {
			t.Errorf("attached by Leases that are closed: %v", err)
		}
	})
}

func TestDetach_OfALeaseThatEndedIsRefused(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), steady)
		released := acquire(t, s, "job", Request{})
		must(t, released.Release(t.Context()))
		if _, err := released.Detach(t.Context()); !errors.Is(err, ErrReleased) {
			t.Errorf("released before: %v", err)
		}
		lost := acquire(t, s, "lost", Request{})
		vanish(t, nodeClients(t, nodes), "lost")
		if _, err := lost.Detach(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("lost before: %v", err)
		}
		leads, err := s.Campaign(t.Context(), "e", "me")
		must(t, err)
		if _, err := leads.Detach(t.Context()); !errors.Is(err, nodeset.ErrConfig) || leads.Err() != nil {
			t.Errorf("of an election: %v", err)
		}
	})
}

func TestAttach_RefusesWhatIsNoHandleOfItsOwn(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), steady)
		handle := detach(t, acquire(t, s, "job", Request{}))
		other := lease(t, open(t, nodes, 0), Config{Prefix: "mine:", TTL: long})
		for what, tt := range map[string]struct {
			by     *Leases
			handle string
			opt    Option
			want   string
		}{
			"malformed":        {s, "job", Owner("me"), "handle: 3 bytes"},
			"of another":       {other, handle, Owner("me"), `Config.Prefix is "mine:"`},
			"which waits":      {s, handle, Wait(time.Second), "Wait: 1s"},
			"with a bad label": {s, handle, Owner("\n"), "Owner"},
			"of nil":           {nil, handle, Owner("me"), "nil"},
		} {
			if _, err := tt.by.Attach(t.Context(), tt.handle, tt.opt); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", what, err)
			}
		}
		l := attach(t, s, handle, Owner("worker"), TTL(20*time.Second))
		if l.Owner() != "worker" || l.TTL() != 20*time.Second {
			t.Errorf("the label is %q, the TTL %v", l.Owner(), l.TTL())
		}
	})
}

func TestAttach_SaysThatAHandleIsTooOld(t *testing.T) {
	now := time.Now()
	h := quorumlock.Handle{Until: now.Add(-3 * time.Second)}
	over := &NotAcquiredError{Key: "job", Class: quorumlock.ClassHandle, Reason: "its handle was used before"}
	if err := tooLate(over, h, now); !errors.Is(err, ErrNotAcquired) || !strings.Contains(err.Error(), "3s ago by this machine's clock") {
		t.Errorf("too old: %v", err)
	}
	h.Until = now.Add(time.Second)
	if err := tooLate(over, h, now); err != error(over) {
		t.Errorf("used: %v", err)
	}
}

// What happens to a lease while Detach waits for its work is what it returns,
// and nobody has a handle.
func TestDetach_ReportsWhatEndsTheLeaseWhileItWaitsForTheWork(t *testing.T) {
	for want, during := range map[string]func(nodes memory, l *Lease){
		"gone or taken": func(nodes memory, l *Lease) {
			for _, n := range nodes {
				n.Del("lock:job")
			}
			time.Sleep(l.TTL())
		},
		"held for MaxHold": func(_ memory, l *Lease) { time.Sleep(time.Until(l.t.maxUntil()) + time.Second) },
	} {
		t.Run(want, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				nodes := newMemory(t, 3)
				c := nodes.open(t, &gate{})
				s := lease(t, c, Config{TTL: time.Minute})
				l := acquireAtOnce(t, s, "job", Request{MaxHold: 2 * time.Minute})
				must(t, l.Go(func(ctx context.Context) {
					<-ctx.Done()
					during(nodes, l)
				}))
				handle, err := l.Detach(t.Context())
				var lost *LostError
				if !errors.As(err, &lost) || !strings.Contains(lost.Reason, want) || handle != "" {
					t.Errorf("%q, %v", handle, err)
				}
				synctest.Wait()
				must(t, acquireAtOnce(t, s, "job", Request{}).Release(t.Context()))
			})
		})
	}
}
