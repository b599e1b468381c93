package session

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestSession_Renew_MovesToANewID(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "", data{"cart": 1})
		other := load(t, s, ss.ID())
		set(t, other, "seen", true)
		old := ss.ID()
		must(t, ss.Set("cart", 2))
		must(t, ss.Renew(t.Context(), As("ann")))
		gone(t, s, old)
		now := load(t, s, ss.ID())
		has(t, now, "cart", 2)
		has(t, now, "seen", true) // ss had not loaded this field
		if now.User() != "ann" {
			t.Errorf("its user is %q", now.User())
		}
		if err := other.Renew(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("it was renewed twice: %v", err)
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 || list[0].hash != ss.hash {
			t.Errorf("the index has %v, %v", list, err)
		}
		deadline := ss.Deadline()
		must(t, ss.Renew(t.Context()))
		if !ss.Deadline().Equal(deadline) {
			t.Error("a renewal without log-in moved the absolute deadline")
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 || list[0].hash != ss.hash {
			t.Errorf("the index has %v, %v", list, err)
		}
	})
}

func TestSession_Renew_GraceLeadsFromTheOldID(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := locking(t, nodes, Config{})
		ss := create(t, s, "ann", data{"a": 1})
		old := ss.ID()
		must(t, ss.Renew(t.Context(), Grace(time.Minute)))
		late := load(t, s, old)
		if late.ID() != "" || late.Handle() != ss.Handle() {
			t.Errorf("it is %q, %q", late.ID(), late.Handle())
		}
		set(t, late, "a", 2)
		has(t, load(t, s, ss.ID()), "a", 2)
		if err := s.Update(t.Context(), old, nil); !errors.Is(err, ErrSessionGone) {
			t.Errorf("an update by the old id, under its lock: %v", err)
		}
		must(t, s.Destroy(t.Context(), old)) // the old id means the renewed session
		gone(t, s, ss.ID())
		gone(t, s, old)
	})
}

// The end of a session is on nodes 0, 1 and 2, and node 2 loses it. Node 2 can
// not know whether there is a session to renew.
func TestSession_Renew_FailsWhereATombstoneWasLost(t *testing.T) {
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

// A log-out is on nodes 0, 1 and 2, and the session on 2, 3 and 4: no quorum
// without node 2 may renew it.
func TestSession_Renew_FailsAfterALogoutOnOtherNodes(t *testing.T) {
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

// Two of the nodes that accepted a renewal lack a field that another process
// has committed.
func TestSession_Renew_KeepsFieldsOfOtherProcesses(t *testing.T) {
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

// The changes of a renewal win, even over a commit of a process whose clock is
// ahead.
func TestSession_Renew_WritesChangesDespiteClockSkew(t *testing.T) {
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
