package fence

import (
	"context"
	"sync"

	"github.com/venta-hq/redlock/internal/errs"
)

// Memory is a [Store] in memory, for tests. The zero value is ready to use. A
// Memory must not be copied.
type Memory struct {
	mu     sync.Mutex
	newest map[string]int64
}

// CheckToken implements [Store]. As in a store that is reached over a network,
// it fails if ctx has ended.
func (m *Memory) CheckToken(ctx context.Context, key string, token int64) error {
	if err := valid(key, token); err != nil {
		return err
	}
	if err := errs.Ended(ctx); err != nil {
		return errs.Errorf("redlock: fence: %q: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if newest := m.newest[key]; newest > token {
		return &StaleError{Key: key, Token: token, Newest: newest}
	}
	if m.newest == nil {
		m.newest = map[string]int64{}
	}
	m.newest[key] = token
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
	delete(m.newest, key)
	return nil
}
