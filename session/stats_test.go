package session

import (
	"context"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStatsCountWhatWasDone(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := locking(t, nodes, Config{})
	ctx := t.Context()
	a, b := create(t, s, "u", nil), create(t, s, "u", nil)
	load(t, s, a.ID())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Update(ctx, a.ID(), func(_ context.Context, ss *Session) error { return ss.Set("n", 1) }))
	must(a.Renew(ctx))
	must(s.Destroy(ctx, b.ID()))
	if _, err := s.Load(ctx, b.ID()); !isGone(err) {
		t.Fatal(err)
	}
	must(s.LogoutAll(ctx, "u", a))
	must(s.LogoutAll(ctx, "u", nil))
	if _, err := s.Create(ctx, "u", nil, Lifetime(-1)); err == nil {
		t.Fatal("made for a time that is over")
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Load(dead, a.ID()); err == nil {
		t.Fatal("loaded under a context that had ended")
	}
	want := Stats{Created: 2, Loaded: 2, Committed: 1, Renewed: 2, Destroyed: 1, Logouts: 2, Gone: 1, Failures: 1}
	if got := s.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
