package keepalive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

const (
	// nodeTimeout lets a busy machine answer.
	nodeTimeout = 2 * time.Second
	// short is a TTL that tests can wait for, and soon the NodeTimeout that it allows.
	short = 3300 * time.Millisecond
	soon  = time.Second
)

// steady is how tests renew where the TTL does not matter: often, and with so much of the TTL to spare that a machine
// which does not get to run for seconds loses nothing.
var steady = Config{TTL: long, RenewEvery: nodeTimeout}

// lives waits until the lease has been renewed.
func lives(t *testing.T, l *Lease) {
	t.Helper()
	began, goal := time.Now(), l.Deadline().Add(soon/2)
	harness.Eventually(t, "the lease to be renewed", func() bool {
		stands(t, began, l)
		return l.Deadline().After(goal)
	})
}

// stands ends the test if a lease that is renewed since began has ended.
func stands(t *testing.T, began time.Time, leases ...*Lease) {
	t.Helper()
	for _, l := range leases {
		if err := l.Err(); err != nil {
			harness.Missed(t, began, "the lease on %q has ended: %v", l.Key(), err)
		}
	}
}

func TestRenewal_ContinuesUntilTheRelease(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, soon), Config{TTL: short})
		other := lease(t, open(t, nodes, soon), Config{TTL: short})
		l := acquire(t, s, "job", Request{Owner: "me"})
		for granted := l.Deadline(); time.Now().Before(granted); { // it outlives its first grant
			lives(t, l)
		}

		var held *NotAcquiredError
		if _, err := other.TryAcquire(t.Context(), "job"); !errors.As(err, &held) {
			t.Fatalf("a second lease: %v", err)
		} else if !slices.ContainsFunc(held.Answers, func(a quorumlock.Answer) bool { return a.Holder == "me" }) {
			t.Errorf("the error does not say who has it: %v", err)
		}
		must(t, l.Release(t.Context()))
		if cause := context.Cause(l.Context()); cause != ErrReleased || l.Err() != ErrReleased {
			t.Errorf("after the release the cause is %v and the error %v", cause, l.Err())
		}
		if err := l.Release(t.Context()); !errors.Is(err, ErrReleased) {
			t.Errorf("a second release: %v", err)
		}
		if next := acquire(t, other, "job", Request{}); next.Token() <= l.Token() {
			t.Errorf("token %d came after %d", next.Token(), l.Token())
		}
	})
}

func TestRenewal_ContinuesWhileAMinorityOfNodesIsStopped(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, lease(t, open(t, nodes, nodeTimeout), steady), "job", Request{})
		nodes.Stop(0)
		nodes.Stop(3)
		lives(t, l)
	})
}

func TestRenewal_HealsANodeThatLostItsData(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		const short = 4 * nodeTimeout
		c := openWith(t, nodes, nodeset.Config{MaxTTL: short})
		l := acquire(t, lease(t, c, Config{TTL: short, RenewEvery: nodeTimeout}), "job", Request{})
		value := harness.Client(t, nodes, 1).Get(t.Context(), "lock:job").Val()
		if err := nodes.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		healed := harness.Client(t, nodes, 0)
		harness.Eventually(t, "the node to be healed", func() bool {
			return healed.Get(t.Context(), "lock:job").Val() == value
		})
		harness.Eventually(t, "the node to vote", c.Nodes()[0].Votes)
		lives(t, l) // and with it a round in which the node owned the key
		nodes.Stop(1)
		lives(t, l) // on the healed node and one other
	})
}

func TestLease_Release_LeavesNoKeyUnderADeadContext(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		// The key does not go by itself while the test waits for it to be gone.
		l := acquire(t, lease(t, open(t, nodes, 0), Config{TTL: 2 * harness.Patience}), "job", Request{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Release(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for _, c := range nodeClients(t, nodes) {
			harness.Eventually(t, "the key to be gone", func() bool {
				return errors.Is(c.Get(t.Context(), "lock:job").Err(), redis.Nil)
			})
		}
	})
}

func TestLease_Release_ReportsAMissingQuorum(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		l := acquire(t, lease(t, open(t, nodes, 0), Config{}), "job", Request{})
		nodes.Stop(0)
		nodes.Stop(1)
		var few *nodeset.QuorumError
		if err := l.Release(t.Context()); !errors.As(err, &few) || !errors.Is(err, ErrNoQuorum) {
			t.Errorf("the release: %v", err)
		}
	})
}

func TestLeases_Acquire_NeverUnderADeadContext(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	s := lease(t, open(t, nodes, 0), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.TryAcquire(ctx, "free"); !errors.Is(err, context.Canceled) {
		t.Errorf("TryAcquire: %v", err)
	}
	if _, err := s.Acquire(ctx, "free"); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcquired) {
		t.Errorf("Acquire: %v", err)
	}
	if keys := harness.Keys(t, nodes, 0); len(keys) != 0 {
		t.Errorf("it left %q", keys)
	}
}

func TestLease_OutlivesTheContextOfAcquireAndHasItsValues(t *testing.T) {
	type name struct{}
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
	l, err := s.TryAcquire(ctx, "job")
	must(t, err)
	cancel()
	if err := l.Context().Err(); err != nil {
		t.Errorf("the lease's context ended with that of the acquiring: %v", err)
	}
	if l.Context().Value(name{}) != "value" {
		t.Error("the lease's context lacks the values")
	}
}

func TestLease_Context_EndsWithItsParentAndTheLeaseDoesNot(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	parent, cancel := context.WithCancelCause(t.Context())
	l := acquire(t, s, "job", Request{Parent: parent})
	why := errors.New("the caller went away")
	cancel(why)
	if cause := context.Cause(l.Context()); cause != why {
		t.Errorf("the context ended because of %v", cause)
	}
	if err := l.Err(); err != nil {
		t.Errorf("the lease ended: %v", err)
	}
	must(t, l.Release(t.Context()))
}

func TestLease_Context_FirstUsedAfterTheEndHasEnded(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	l := acquire(t, s, "job", Request{})
	must(t, l.Release(t.Context()))
	if cause := context.Cause(l.Context()); cause != ErrReleased {
		t.Errorf("the cause is %v", cause)
	}
}

func TestConfig_EveryBadFieldIsNamed(t *testing.T) {
	c := open(t, harness.Embedded(t, 1), time.Second)
	_, err := New(c, Config{TTL: 2 * time.Minute, Owner: "two\nlines", FenceRetention: time.Second})
	for _, field := range []string{"Config.TTL", "Config.Owner", "Config.FenceRetention"} {
		if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	for _, cfg := range []Config{{RenewEvery: 6 * time.Second}, {RenewEvery: 999 * time.Millisecond}, {RenewEvery: -1}} {
		if _, err := New(c, cfg); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "Config.RenewEvery") {
			t.Errorf("RenewEvery %v: %v", cfg.RenewEvery, err)
		}
	}
	if _, err := New(c, Config{TTL: 3 * time.Second}); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "Config.TTL") {
		t.Errorf("a TTL of three NodeTimeouts: %v", err)
	}
}

func TestOptions_EveryBadOneIsNamedAndNothingIsSent(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	c := open(t, nodes, time.Second)
	s := lease(t, c, Config{})
	<-s.opened // so that a wait would stand in queues at once
	for _, test := range []struct {
		key   string
		opt   Option
		field string
	}{
		{"", TTL(time.Second), "key"},
		{"k", TTL(-time.Second), "TTL"},
		{"k", TTL(3 * time.Second), "TTL"},
		{"k", TTL(time.Hour), "TTL"},
		{"k", Owner("two\nlines"), "Owner"},
		{"k", MinHold(-1), "MinHold"},
		{"k", MaxHold(-1), "MaxHold"},
		{"k", both{MinHold(2 * time.Second), MaxHold(time.Second)}, "MinHold"},
	} {
		for name, call := range map[string]func(context.Context, string, ...Option) (*Lease, error){
			"TryAcquire": s.TryAcquire, "Acquire": s.Acquire,
		} {
			_, err := call(t.Context(), test.key, test.opt)
			if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), test.field+": ") {
				t.Errorf("%s: bad %s: %v", name, test.field, err)
			}
		}
	}
	if err := errors.Join(s.Close(t.Context()), c.Close(t.Context())); err != nil { // nothing is on its way any more
		t.Fatal(err)
	}
	if sent := nodes.Commands(0)["evalsha"]; sent != 0 {
		t.Errorf("the node was sent %d scripts", sent)
	}
}

// both is two options.
type both [2]Option

func (b both) apply(r *Request) {
	for _, o := range b {
		o.apply(r)
	}
}

func TestLease_Done_IsClosedWhenTheLeaseOrItsParentEnds(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 3), 0), Config{})
	for name, contextToo := range map[string]bool{"alone": false, "beside its context": true} {
		l := acquire(t, s, name, Request{})
		if contextToo {
			l.Context()
		}
		done := l.Done()
		select {
		case <-done:
			t.Fatalf("%s: it is closed while the lease stands", name)
		default:
		}
		l.Release(t.Context())
		harness.Receive(t, "Done", done)
		harness.Receive(t, "Done that was asked for late", l.Done())
		if contextToo && context.Cause(l.Context()) != ErrReleased {
			t.Errorf("%s: the context ended by %v", name, context.Cause(l.Context()))
		}
	}
	parent, cancel := context.WithCancel(t.Context())
	l := acquire(t, s, "child", Request{Parent: parent})
	cancel()
	harness.Receive(t, "Done of a lease whose parent ended", l.Done())
}
