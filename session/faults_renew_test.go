package session

import (
	"testing"

	"github.com/venta-hq/redlock/internal/nodetest"
)

// The end of a session is on nodes 0, 1 and 2, and node 2 forgets it. Node 2 can not say whether there is something to renew.
func TestANodeThatForgotATombstoneDoesNotRenew(t *testing.T) {
	t.Parallel()
	nodes := nodetest.Embedded(t, 5)
	s := hasty(t, nodes, Config{})
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
	nodes := nodetest.Embedded(t, 5)
	s := hasty(t, nodes, Config{})
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
