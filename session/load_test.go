package session

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A log-out is on nodes 0, 1 and 2, and the session on 2, 3 and 4. Node 2 loses
// both. If it accepts the session again, that does not prove that the session
// was not logged out.
func TestStore_Load_DoesNotRestoreThroughANodeThatLostALogout(t *testing.T) {
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
	if rec, err := r.conclude(t.Context(), "load", v); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read %v, %v", rec, err)
	}
	all(t, s, nodes)
	gone(t, s, ss.ID())
}
