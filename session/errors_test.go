package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestStore_OfNilOnlyRefuses(t *testing.T) {
	var none *Store
	harness.OfNil(t, none, cluster.ErrConfig)
	if none.Stats() != (Stats{}) {
		t.Error("a call of a nil Store succeeded")
	}
}

func TestStore_ErrorsSayWhyTheContextEnded(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := locking(t, nodes, Config{})
	ss := create(t, s, "ann", data{"at": 1})
	must(t, ss.Set("at", 2))
	until := time.Now().Add(time.Hour)
	calls := map[string]func(ctx context.Context) error{
		"Create":        func(ctx context.Context) error { _, err := s.Create(ctx, "ann", nil); return err },
		"Load":          func(ctx context.Context) error { _, err := s.Load(ctx, ss.ID()); return err },
		"Update":        func(ctx context.Context) error { return s.Update(ctx, ss.ID(), nil) },
		"List":          func(ctx context.Context) error { _, err := s.List(ctx, "ann"); return err },
		"LogoutAll":     func(ctx context.Context) error { return s.LogoutAll(ctx, "ann", nil) },
		"LogoutAll but": func(ctx context.Context) error { return s.LogoutAll(ctx, "ann", ss) },
		"Put":           func(ctx context.Context) error { return s.Put(ctx, newID(), "ann", nil, until) },
		"Fetch":         func(ctx context.Context) error { _, _, err := s.Fetch(ctx, ss.ID()); return err },
		"FetchAll":      func(ctx context.Context) error { _, err := s.FetchAll(ctx, "ann"); return err },
		"Commit":        func(ctx context.Context) error { return ss.Commit(ctx) },
		"Renew":         func(ctx context.Context) error { return ss.Renew(ctx) },
		"Destroy":       func(ctx context.Context) error { return s.Destroy(ctx, ss.ID()) },
		"its Destroy":   func(ctx context.Context) error { return ss.Destroy(ctx) },
	}
	withdrawn := errors.New("the request was withdrawn")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(withdrawn)
	for name, call := range calls {
		if err := call(ended); !errors.Is(err, context.Canceled) || !errors.Is(err, withdrawn) {
			t.Errorf("%s of a context that had ended: %v", name, err)
		}
	}
	for i := range nodes.Len() {
		nodes.Pause(i)
		defer nodes.Resume(i)
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, withdrawn)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, withdrawn) {
			t.Errorf("%s of a context that ends while the nodes are silent: %v", name, err)
		}
		cancel()
	}
}
