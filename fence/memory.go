package fence

import (
	"context"
	"sync"

	"github.com/venta-hq/redlock/internal/errs"
)

// Memory is a [ReadStore] in memory, for tests. The zero value is ready to use.
// A Memory must not be copied.
type Memory struct {
	mu   sync.Mutex
	seen map[string]seen
}

// CheckToken implements [Store]. As in a store that is reached over a network,
// it fails if ctx has ended.
func (m *Memory) CheckToken(ctx context.Context, key string, token int64) error {
	return m.check(ctx, key, token, seen.write)
}

// CheckReadToken implements [ReadStore].
func (m *Memory) CheckReadToken(ctx context.Context, key string, token int64) error {
	return m.check(ctx, key, token, seen.read)
}

func (m *Memory) check(ctx context.Context, key string, token int64, judge judgement) error {
	if err := valid(key, token); err != nil {
		return err
	}
	if err := errs.Ended(ctx); err != nil {
		return errs.Errorf("redlock: fence: %q: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	after, err := judge(m.seen[key], key, token)
	if err != nil {
		return err
	}
	if m.seen == nil {
		m.seen = map[string]seen{}
	}
	m.seen[key] = after
	return nil
}

// Forget removes what is known of key. Read "Forgetting" in the package comment
// first.
func (m *Memory) Forget(ctx context.Context, key string) error {
	if err := errs.Ended(ctx); err != nil {
		return errs.Errorf("redlock: fence: %q: forget: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, key)
	return nil
}
