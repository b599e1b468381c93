package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// The end of a session is on nodes 0, 1 and 2, and node 2 forgets it. Node 2 can not say whether there is something to renew.
func TestANodeThatForgotATombstoneDoesNotRenew(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	without(t, s, nodes, []int{3, 4}, func() { must(t, s.Destroy(t.Context(), ss.ID())) })
	emptied(t, s, nodes, 2)
	only(t, s, nodes, 2, 3, 4)
	if err := ss.Renew(t.Context()); err == nil {
		t.Error("a destroyed session was renewed")
	}
	all(t, s, nodes)
}

// A log-out is on nodes 0, 1 and 2, and the session on 2, 3 and 4: no quorum without node 2 may renew it.
func TestASessionThatWasLoggedOutWhereItIsNotIsNotRenewed(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	settled(t, s)
	var ss *Session
	without(t, s, nodes, []int{0, 1}, func() { ss = create(t, s, "ann", data{"a": 1}) })
	without(t, s, nodes, []int{3, 4}, func() { must(t, s.LogoutAll(t.Context(), "ann", nil)) })
	only(t, s, nodes, 0, 1, 3, 4)
	if err := ss.Renew(t.Context()); err == nil {
		t.Error("a session that was logged out was renewed")
	}
	all(t, s, nodes)
}

// Two of the nodes that took a renewal lack a field that another process has committed.
func TestARenewalCarriesAlongWhatOthersHaveCommitted(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", data{"a": 1})
	other := load(t, s, ss.ID())
	without(t, s, nodes, []int{3, 4}, func() { set(t, other, "b", 2) })
	without(t, s, nodes, []int{0, 1}, func() { must(t, ss.Renew(t.Context())) })
	has(t, ss, "b", 2)
	only(t, s, nodes, 0, 1, 3)
	has(t, load(t, s, ss.ID()), "b", 2)
	all(t, s, nodes)
}

// What was set and is written by a renewal counts, also over what a process with a clock ahead has committed.
func TestARenewalWritesWhatWasSetWhateverClocksSay(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s, ahead := store(t, nodes, Config{}), store(t, nodes, Config{})
	ahead.clock.last.Store(time.Now().Add(time.Hour).UnixMicro())
	ss := create(t, s, "ann", data{"n": 0})
	set(t, load(t, ahead, ss.ID()), "n", 1)
	must(t, ss.Set("n", 2))
	must(t, ss.Renew(t.Context()))
	has(t, ss, "n", 2)
	has(t, load(t, ahead, ss.ID()), "n", 2)
}

// A log-out is on nodes 0, 1 and 2, and the session on 2, 3 and 4. Node 2 forgets both: that it takes the session back does
// not tell that nobody has logged it out.
func TestANodeThatForgotALogoutDoesNotBringASessionToAQuorum(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	settled(t, s)
	var ss *Session
	without(t, s, nodes, []int{0, 1}, func() { ss = create(t, s, "ann", data{"a": 1}) })
	without(t, s, nodes, []int{3, 4}, func() { must(t, s.LogoutAll(t.Context(), "ann", nil)) })
	emptied(t, s, nodes, 2)
	only(t, s, nodes, 0, 1, 3)
	now := time.Now()
	r := &reading{s: s, hashed: ss.hash, now: now}
	p := s.newQuorumCall(question{script: loadScript, key: s.cfg.Prefix + ss.hash, args: touch(now, 0), now: now})
	r.p, p.take, p.enough = p, r.take, r.enough
	must(t, p.run(t.Context()))
	v, err := r.settle("load")
	must(t, err)
	all(t, s, nodes)
	only(t, s, nodes, 2, 3, 4)
	if rec, err := s.decide(t.Context(), "load", ss.hash, r, v); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read %v, %v", rec, err)
	}
	all(t, s, nodes)
	gone(t, s, ss.ID())
}

// Nodes that make up for each of two sessions that the other has replaced it do not keep Destroy for ever.
func TestDestroyFollowsNoRing(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := store(t, nodes, Config{})
	a, b := newID(), newID()
	for i := range nodes.Len() {
		cl := harness.Client(t, nodes, i)
		for from, to := range map[string]string{a: b, b: a} {
			must(t, cl.HSet(t.Context(), "session:"+hash(from), "x", "1", "to", hash(to)).Err())
		}
	}
	if err := s.Destroy(t.Context(), a); err == nil || !strings.Contains(err.Error(), "renewed more than") {
		t.Errorf("it ended with %v", err)
	}
}
