//go:build unix

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/session"
)

// Three nodes, of which one is an hour ahead from the start, and one jumps there and back. A session that the jumping node
// and the one that is away have in common is not lost, and one that was ended does not come back.
func TestSessions_SurviveANodeWhoseClockIsAnHourOff(t *testing.T) {
	if thisRound(t).size == shortRound && selected() == "" {
		t.Skip("clocks that can be set are for full rounds: set REDLOCK_CHAOS_ROUND=full")
	}
	const ahead, jumps, away = 0, 1, 2
	kind := chaos.NodeKind{Memory: chaos.SyncedEverySecond, Clocks: []string{"+3600", "+0", "+0"}}
	b := mustBackend(t)
	chaos.Scenario{Nodes: kind}.SkipWhereItCannotBe(t, b)
	began := time.Now()
	set, err := b.Start(len(kind.Clocks), kind)
	harness.Must(t, began, err)
	must := func(err error) {
		t.Helper()
		harness.Must(t, began, err)
	}
	defer func() { must(set.Close()) }()
	ctx := t.Context()
	var urls []string
	for _, addr := range set.Addrs() {
		urls = append(urls, "redis://"+addr)
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	defer c.Close(context.WithoutCancel(ctx))
	s, err := session.New(c, session.Config{Idle: 10 * time.Minute})
	must(err)
	start := func(node int) {
		t.Helper()
		must(set.Restart(node))
		harness.Eventually(t, fmt.Sprintf("node %d is up", node), func() bool { return c.Status()[node].Up })
	}

	ended, err := s.Create(ctx, "ann", nil)
	must(err)
	out, err := s.Create(ctx, "bob", nil)
	must(err)
	must(set.Stop(away))
	kept, err := s.Create(ctx, "ann", map[string]any{"cart": "book"})
	must(err)
	must(ended.Destroy(ctx))
	must(s.LogoutAll(ctx, "bob", nil))
	start(away)
	for _, setting := range []string{"+3600", "+0"} {
		must(set.SetClock(jumps, setting))
		must(set.Stop(ahead))
		if ss, err := s.Load(ctx, kept.ID()); err != nil {
			t.Errorf("the session was lost at %s s: %v", setting, err)
		} else if cart, _, err := session.Get[string](ss, "cart"); cart != "book" || err != nil {
			t.Errorf("it has %q, %v", cart, err)
		}
		for _, was := range []*session.Session{ended, out} {
			if _, err := s.Load(ctx, was.ID()); !errors.Is(err, session.ErrSessionGone) {
				t.Errorf("one of %s that was ended was read at %s s: %v", was.User(), setting, err)
			}
		}
		start(ahead)
	}
}
