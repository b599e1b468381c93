package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_Destroy_WinsOverAConcurrentRenew(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 5)
	s := store(t, nodes, Config{})
	ss := create(t, s, "ann", nil)
	stale := load(t, s, ss.ID())
	without(t, s, nodes, []int{0, 1}, func() { must(t, ss.Destroy(t.Context())) })
	only(t, s, nodes, 0, 1, 2)
	if err := stale.Renew(t.Context()); !errors.Is(err, ErrSessionGone) {
		t.Errorf("renewed: %v", err)
	}
	if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 0 {
		t.Errorf("it left %d sessions, %v", len(list), err)
	}
	all(t, s, nodes)
}

// If nodes report of two sessions that each has replaced the other, Destroy
// still ends.
func TestStore_Destroy_StopsInARingOfSuccessors(t *testing.T) {
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
