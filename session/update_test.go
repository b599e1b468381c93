package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

const writers = 24

func TestSession_Commit_ConcurrentOnesToDifferentFieldsLoseNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		stores := []*Store{store(t, nodes, Config{}), store(t, nodes, Config{})}
		id := create(t, stores[0], "ann", nil).ID()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				s := stores[w%2]
				for i := range 2 {
					ss, err := s.Load(t.Context(), id)
					if err == nil {
						err = ss.Set(fmt.Sprint("f", w), i)
					}
					if err == nil {
						err = ss.Commit(t.Context())
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		ss := load(t, stores[0], id)
		for w := range writers {
			has(t, ss, fmt.Sprint("f", w), 1)
		}
	})
}

func TestStore_Update_ConcurrentOnesLoseNothing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		stores := []*Store{locking(t, nodes, Config{}), locking(t, nodes, Config{})}
		id := create(t, stores[0], "ann", data{"n": 0}).ID()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				err := stores[w%2].Update(t.Context(), id, func(_ context.Context, ss *Session) error {
					n, _, err := Get[int](ss, "n")
					return errors.Join(err, ss.Set("n", n+1))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		has(t, load(t, stores[0], id), "n", writers)
	})
}

// A commit without Update during an update is not lost either: the update runs
// again.
func TestStore_Update_RunsAgainAfterAPlainCommit(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 3)
	s := locking(t, nodes, Config{})
	ss := create(t, s, "ann", data{"n": 0})
	runs := 0
	must(t, s.Update(t.Context(), ss.ID(), func(_ context.Context, up *Session) error {
		n, _, _ := Get[int](up, "n")
		if runs++; runs == 1 {
			set(t, ss, "n", 10)
		}
		return up.Set("n", n+1)
	}))
	has(t, load(t, s, ss.ID()), "n", 11)
	if runs != 2 {
		t.Errorf("it ran %d times", runs)
	}
	want := errors.New("mine")
	err := s.Update(t.Context(), ss.ID(), func(_ context.Context, up *Session) error { up.Set("n", 0); return want })
	if !errors.Is(err, want) {
		t.Error(err)
	}
	has(t, load(t, s, ss.ID()), "n", 11)
}

// A holder that lost the lock, and has read the same version as the next
// holder, continues late. Its write must not win over the next holder's.
func TestStore_Update_LateOneIsOrderedByItsToken(t *testing.T) {
	t.Parallel()
	harness.Each(t, 5, func(t *testing.T, nodes harness.Set) {
		s := store(t, nodes, Config{})
		ss := create(t, s, "ann", data{"n": 0})
		early, late := load(t, s, ss.ID()), load(t, s, ss.ID())
		late.token, early.token = 7, 8
		without(t, s, nodes, []int{3, 4}, func() { set(t, early, "n", 8) })
		down(t, s, cutter(t, nodes), 0, 1) // the late holder finds the other's write on only one node
		must(t, late.Set("n", 7))
		if err := late.Commit(t.Context()); !errors.Is(err, errOvertaken) {
			t.Errorf("it ended with %v", err)
		}
		has(t, load(t, s, ss.ID()), "n", 8)
		all(t, s, nodes)
		has(t, load(t, s, ss.ID()), "n", 8)
	})
}

// A clock that is behind does not make an acknowledged write vanish.
func TestSession_Commit_LastOneCountsDespiteClockSkew(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		s, ahead := store(t, nodes, Config{}), store(t, nodes, Config{})
		ahead.clock.last.Store(time.Now().Add(time.Hour).UnixMicro())
		ss := create(t, s, "ann", data{"n": 0})
		set(t, load(t, ahead, ss.ID()), "n", 1)
		set(t, ss, "n", 2) // ss has not read the newer value
		has(t, load(t, ahead, ss.ID()), "n", 2)
	})
}

// Errors name locks, but not in a way by which processes with other salts, or
// anyone who knows the id, can find the session.
func TestStore_Update_ErrorsNameTheSessionByItsLabel(t *testing.T) {
	t.Parallel()
	s := locking(t, harness.Embedded(t, 3), Config{})
	ss := create(t, s, "ann", nil)
	err := s.Update(t.Context(), ss.ID(), func(ctx context.Context, _ *Session) error {
		return s.Update(ctx, ss.ID(), nil)
	})
	if !errors.Is(err, lock.ErrReentrant) {
		t.Fatalf("an update within an update: %v", err)
	}
	if strings.Contains(err.Error(), lockName(ss.hash)) || !strings.Contains(err.Error(), s.label(ss.hash)) {
		t.Errorf("%v does not name the session by its salted hash", err)
	}
}
