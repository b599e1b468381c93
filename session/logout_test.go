package session

import (
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_LogoutAll_EndsEarlierSessionsOnly(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		before, bob := create(t, s, "ann", nil), create(t, s, "bob", nil)
		without(t, s, nodes, []int{0, 1}, func() { must(t, s.LogoutAll(t.Context(), "ann", nil)) })
		after := create(t, s, "ann", nil)
		only(t, s, nodes, 0, 1, 2) // two of them missed the log-out
		gone(t, s, before.ID())
		load(t, s, after.ID())
		load(t, s, bob.ID())
		all(t, s, nodes)
		must(t, before.Set("a", 1))
		if err := before.Commit(t.Context()); !errors.Is(err, ErrSessionGone) {
			t.Errorf("a commit to a session that was logged out: %v", err)
		}
		if list, err := s.List(t.Context(), "ann"); err != nil || len(list) != 1 {
			t.Errorf("%d sessions are left, %v", len(list), err)
		}
	})
}

func TestStore_LogoutAll_KeepsOne(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		a, b := create(t, s, "ann", data{"at": "a"}), create(t, s, "ann", nil)
		idA := a.ID()
		must(t, s.LogoutAll(t.Context(), "ann", a))
		if a.ID() == idA {
			t.Error("the kept session has its old id")
		}
		has(t, load(t, s, a.ID()), "at", "a")
		gone(t, s, idA)
		gone(t, s, b.ID())
		// A session that was logged out cannot be kept.
		if err := s.LogoutAll(t.Context(), "ann", b); !errors.Is(err, ErrSessionGone) {
			t.Errorf("it was kept: %v", err)
		}
		load(t, s, a.ID())
	})
}

// Log-in and log-out are ordered as they happened, whatever the clocks of the
// processes show.
func TestStore_LogoutAll_IgnoresClockSkew(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s, ahead := store(t, nodes, Config{}), store(t, nodes, Config{})
	ahead.clock.last.Store(time.Now().Add(time.Hour).UnixMicro())
	early := create(t, ahead, "ann", nil) // an hour later than the log-out, by the clocks
	must(t, s.LogoutAll(t.Context(), "ann", nil))
	gone(t, s, early.ID())
	must(t, ahead.LogoutAll(t.Context(), "bob", nil))
	late := create(t, s, "bob", nil) // an hour earlier than the log-out
	load(t, ahead, late.ID())
	must(t, ahead.LogoutAll(t.Context(), "bob", nil))
	kept := create(t, s, "bob", nil)
	must(t, s.LogoutAll(t.Context(), "bob", kept))
	load(t, s, kept.ID())
	gone(t, s, late.ID())
}
