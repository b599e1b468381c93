package fence

import (
	"errors"
	"path/filepath"
	"testing"
)

// A process may be killed after it has renamed the new token file and before
// the rename is synced. Whoever finds its token there, and lets it pass, syncs
// the rename: after a power failure the file would have the older token again.
func TestFile_AnEqualTokenPassesOnlyOnceItIsSynced(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "fence")}
	killed, synced := errors.New("killed"), 0
	before := syncRename
	defer func() { syncRename = before }()
	syncRename = func(string) error { return killed }
	for what, err := range map[string]error{
		"a first check": f.CheckToken(t.Context(), "k", 7), "an equal one": f.CheckToken(t.Context(), "k", 7), "Forget": f.Forget(t.Context(), "other"),
	} {
		if !errors.Is(err, killed) {
			t.Errorf("%s without a sync: %v", what, err)
		}
	}
	syncRename = func(path string) error { synced++; return before(path) }
	for i, change := range []func() error{
		func() error { return f.CheckToken(t.Context(), "k", 7) }, func() error { return f.Forget(t.Context(), "never seen") },
	} {
		if err := change(); err != nil || synced != i+1 {
			t.Errorf("call %d: %v, and %d syncs", i, err, synced)
		}
	}
	if err := f.CheckToken(t.Context(), "k", 6); !errors.Is(err, ErrStale) || synced != 2 {
		t.Errorf("a refused check promises nothing: %v, and %d syncs", err, synced)
	}
}
