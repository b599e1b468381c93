//go:build unix

package fence_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/fence"
)

var budget = flag.Duration("fence.budget", 15*time.Second, "how long a test of many transactions goes on for with each driver")

var errRolledBack = errors.New("rolled back")

// 64 writers come at once, in any order, to a key that is new. A third of them
// are rolled back while others wait. Each retries what may be retried.
func TestSQL_Writers_TheNewestStays(t *testing.T) {
	const writers = 64
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			key := level.String()
			var passed, stale, back atomic.Int64
			var all sync.WaitGroup
			begin := make(chan struct{})
			for _, i := range rand.Perm(writers) {
				all.Go(func() {
					<-begin
					err := db.retried(retriable, level, func(tx *sql.Tx) error {
						if err := db.write(t.Context(), tx, key, int64(i+1)); err != nil || i%3 != 1 {
							return err
						}
						return errRolledBack
					})
					switch {
					case err == nil:
						passed.Add(1)
					case errors.Is(err, errRolledBack):
						back.Add(1)
					case errors.Is(err, fence.ErrStale):
						stale.Add(1)
					default:
						t.Errorf("%v: %v", level, err)
					}
				})
			}
			close(begin)
			all.Wait()
			if w := db.writer(t); w != writers {
				t.Errorf("%v: the newest of %d writers is overwritten by %d", level, writers, w)
			}
			t.Logf("%v: %d passed, %d stale, %d rolled back", level, passed.Load(), stale.Load(), back.Load())
		}
	})
}

// 16 workers share a key that is known, each transaction under the next of the
// levels. One of ten is rolled back. Only serialization failures are retried.
func TestSQL_Writers_DoNotDeadlockOnAKey(t *testing.T) {
	const transactions, workers = 10_000, 16
	onEach(t, func(t *testing.T, db *database) {
		if err := db.fences.CheckToken(t.Context(), db, "order:42", 1); err != nil {
			t.Fatal(err)
		}
		end, levels := time.Now().Add(*budget), db.levels()
		var next, stale, other atomic.Int64
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for time.Now().Before(end) {
					n := next.Add(1)
					if n > transactions {
						return
					}
					err := db.retried(notSerialized, levels[n%int64(len(levels))], func(tx *sql.Tx) error {
						if err := db.write(t.Context(), tx, "order:42", 1+n/8); err != nil || n%10 != 1 {
							return err
						}
						return errRolledBack
					})
					switch {
					case errors.Is(err, fence.ErrStale):
						stale.Add(1)
					case err != nil && err != errRolledBack && other.Add(1) < 5:
						t.Errorf("transaction %d: %v", n, err)
					}
				}
			})
		}
		all.Wait()
		done := min(next.Load(), transactions)
		t.Logf("%d transactions, %d of them stale; %d more are left out, as -fence.budget is %v", done, stale.Load(), transactions-done, *budget)
		if n := other.Load(); n != 0 {
			t.Errorf("%d transactions failed", n)
		}
	})
}

// While a transaction that checked many keys is open, checks of others pass.
func TestSQL_Writers_OfOtherKeysDoNotWait(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if db.fences.Dialect == fence.SQLite {
			t.Skip("SQLite has one writer at a time")
		}
		for _, level := range db.levels() {
			tx := db.begin(t, level)
			check := func(tx *sql.Tx, key string, i int) {
				t.Helper()
				if err := db.fences.CheckToken(t.Context(), tx, fmt.Sprintf("%v %s%d", level, key, i), 1); err != nil {
					t.Errorf("%v: %v", level, err)
				}
			}
			for i := range 100 {
				check(tx, "a", i)
			}
			for i := range 100 {
				other := db.begin(t, level)
				check(other, "b", i)
				if err := other.Commit(); err != nil {
					t.Errorf("%v: %v", level, err)
				}
			}
			tx.Rollback()
		}
	})
}
