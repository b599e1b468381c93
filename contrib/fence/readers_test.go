//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/venta-hq/redlock/contrib/fence/pgxfence"
	"github.com/venta-hq/redlock/fence"
)

// A step is one check, and what it must say.
type step struct {
	reads  bool
	token  int64
	newest int64 // if it is stale
	reader bool  // newest is a reader's
}

var steps = []step{
	{false, 5, 0, false},
	{true, 4, 5, false},
	{true, 5, 0, false},
	{false, 5, 5, true},
	{true, 8, 0, false},
	{true, 6, 0, false},
	{false, 4, 8, true},
	{false, 7, 8, true},
	{false, 8, 8, true},
	{false, 9, 0, false},
	{false, 9, 0, false},
	{true, 8, 9, false},
	{false, 8, 9, false},
	{true, 9, 0, false},
	{true, fence.MaxToken - 1, 0, false},
	{false, fence.MaxToken - 1, fence.MaxToken - 1, true},
	{true, 9, 0, false},
}

// judge checks what a check of key said.
func (s step) judge(t *testing.T, what, key string, err error) {
	t.Helper()
	var stale *fence.StaleError
	errors.As(err, &stale)
	if want := (fence.StaleError{Key: key, Token: s.token, Newest: s.newest, Reader: s.reader}); s.newest == 0 && err != nil ||
		s.newest != 0 && (stale == nil || *stale != want) {
		t.Errorf("%s: %q, %+v: %v", what, key, s, err)
	}
}

// read is write for a reader.
func (db *database) read(ctx context.Context, tx *sql.Tx, key string, token int64) (writer int64, err error) {
	if err := db.fences.CheckReadToken(ctx, tx, key, token); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, "SELECT writer FROM "+db.data+" WHERE id = 1").Scan(&writer)
	return writer, err
}

func TestSQL_CheckReadToken_OrdersReadersAndWriters(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			key := level.String()
			for _, s := range steps {
				for range 2 { // what is stale, or passes, is so again
					tx := db.begin(t, level)
					check := db.fences.CheckToken
					if s.reads {
						check = db.fences.CheckReadToken
					}
					s.judge(t, "in a transaction", key, check(t.Context(), tx, key, s.token))
					if err := tx.Commit(); err != nil {
						t.Fatal(err)
					}
				}
			}
			var token, read int64
			if err := db.QueryRow("SELECT token, read_token FROM "+quoted(db)+" ORDER BY seen_at DESC").Scan(&token, &read); err != nil || token != 9 || read != fence.MaxToken-1 {
				t.Errorf("%v: the row has %d and %d: %v", level, token, read, err)
			}
		}
	})
}

func TestPgxfence_CheckReadToken_OrdersReadersAndWriters(t *testing.T) {
	db := open(t, "pgx", postgresDSN(t), fence.PostgreSQL)
	conn, err := pgx.Connect(t.Context(), db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range steps {
		check := pgxfence.CheckToken
		if s.reads {
			check = pgxfence.CheckReadToken
		}
		s.judge(t, "committed at once", "a", check(t.Context(), db.fences, conn, "a", s.token))
	}
	s := step{token: fence.MaxToken - 3, reads: true}
	s.judge(t, "of a context", "a", pgxfence.CheckRead(fence.WithReadToken(t.Context(), "a", s.token), db.fences, conn, "a"))
}

// Readers with tokens of their own, or one, pass beside each other while
// writers before them are refused. 64 of both come at once.
func TestSQL_Readers_BesideWriters(t *testing.T) {
	const readers, writers = 32, 16
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			key := level.String()
			var all sync.WaitGroup
			var stale atomic.Int64
			begin := make(chan struct{})
			for i := range int64(writers) {
				all.Go(func() {
					<-begin
					err := db.retried(retriable, level, func(tx *sql.Tx) error { return db.write(t.Context(), tx, key, i+1) })
					if errors.Is(err, fence.ErrStale) {
						stale.Add(1)
					} else if err != nil {
						t.Errorf("%v, writer %d: %v", level, i+1, err)
					}
				})
			}
			for i := range int64(readers) {
				all.Go(func() {
					<-begin
					var first int64
					err := db.retried(retriable, level, func(tx *sql.Tx) (err error) {
						first, err = db.read(t.Context(), tx, key, writers+i%4)
						return err
					})
					if err != nil {
						t.Errorf("%v, reader %d: %v", level, writers+i%4, err)
						return
					}
					if w := db.writer(t); w != first {
						t.Errorf("%v: a reader with token %d read what writer %d wrote, and %d overwrote it", level, writers+i%4, first, w)
					}
				})
			}
			close(begin)
			all.Wait()
			t.Logf("%v: %d writers of %d are stale", level, stale.Load(), writers)
			err := db.retried(retriable, level, func(tx *sql.Tx) error { return db.write(t.Context(), tx, key, writers+3) })
			(step{false, writers + 3, writers + 3, true}).judge(t, level.String(), key, err)
			db.exec(t, fmt.Sprintf("UPDATE %s SET writer = 0 WHERE id = 1", db.data))
		}
	})
}

// A reader that waited for a writer before it reads what that one wrote.
func TestSQL_Readers_SeeWhatTheyWaitedFor(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			forget(t, db)
			before := db.begin(t, level)
			if err := db.write(t.Context(), before, "a", 5); err != nil {
				t.Fatal(err)
			}
			read, after := int64(0), make(chan error)
			go func() {
				after <- db.retried(retriable, level, func(tx *sql.Tx) (err error) {
					read, err = db.read(context.Background(), tx, "a", 5)
					return err
				})
			}()
			awaitWaiting(t, db, after)
			if err := before.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-after; err != nil || read != 5 {
				t.Errorf("%v: read %d, %v; want what writer 5 wrote", level, read, err)
			}
			db.exec(t, fmt.Sprintf("UPDATE %s SET writer = 0 WHERE id = 1", db.data))
		}
	})
}

// A newer writer waits until those that read are done.
func TestSQL_Readers_ANewerWriterWaitsForThem(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if db.fences.Dialect == fence.SQLite {
			t.Skip("SQLite has one writer at a time")
		}
		for _, level := range db.levels() {
			for _, known := range []bool{false, true} {
				forget(t, db)
				if known { // then PostgreSQL shares the row
					if err := db.fences.CheckReadToken(t.Context(), db, "a", 5); err != nil {
						t.Fatal(err)
					}
				}
				reader := db.begin(t, level)
				first, err := db.read(t.Context(), reader, "a", 5)
				if err != nil {
					t.Fatal(err)
				}
				after := make(chan error)
				go func() {
					after <- db.retried(retriable, level, func(tx *sql.Tx) error { return db.write(context.Background(), tx, "a", 6) })
				}()
				awaitWaiting(t, db, after)
				var again int64
				if err := reader.QueryRow("SELECT writer FROM " + db.data + " WHERE id = 1").Scan(&again); err != nil || again != first {
					t.Errorf("%v: a reader finds %d after %d: %v", level, again, first, err)
				}
				if err := reader.Commit(); err != nil {
					t.Fatal(err)
				}
				if err := <-after; err != nil {
					t.Errorf("%v: %v", level, err)
				}
				db.exec(t, fmt.Sprintf("UPDATE %s SET writer = 0 WHERE id = 1", db.data))
			}
		}
	})
}

// In PostgreSQL, readers whose token is known do not wait for each other.
func TestSQL_Readers_ShareARowOfPostgreSQL(t *testing.T) {
	for _, driver := range []string{"pgx", "postgres"} {
		db := open(t, driver, postgresDSN(t), fence.PostgreSQL)
		for _, level := range db.levels() {
			for _, token := range []int64{5, 4, 5} {
				forget(t, db)
				if err := db.fences.CheckReadToken(t.Context(), db, "a", 5); err != nil {
					t.Fatal(err)
				}
				var open []*sql.Tx
				for range 8 {
					open = append(open, db.begin(t, level))
					if _, err := db.read(t.Context(), open[len(open)-1], "a", token); err != nil {
						t.Errorf("%s, %v: %v", driver, level, err)
					}
				}
				for _, tx := range open {
					tx.Rollback()
				}
			}
		}
	}
}

// In PostgreSQL, a reader with a newer token than any before waits for the
// readers before it, and those after wait for it.
func TestSQL_Readers_ANewerOneWaitsInPostgreSQL(t *testing.T) {
	db := open(t, "pgx", postgresDSN(t), fence.PostgreSQL)
	if err := db.fences.CheckReadToken(t.Context(), db, "a", 5); err != nil {
		t.Fatal(err)
	}
	before, newer := db.begin(t, sql.LevelReadCommitted), db.begin(t, sql.LevelReadCommitted)
	if err := db.fences.CheckReadToken(t.Context(), before, "a", 5); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- db.fences.CheckReadToken(context.Background(), newer, "a", 6) }()
	awaitWaiting(t, db, done)
	if err := before.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() { done <- db.fences.CheckReadToken(context.Background(), db, "a", 5) }()
	awaitWaiting(t, db, done)
	if err := newer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The row may be deleted while a reader waits for it.
func TestSQL_Readers_OfARowThatIsDeleted(t *testing.T) {
	db := open(t, "pgx", postgresDSN(t), fence.PostgreSQL)
	if err := db.fences.CheckReadToken(t.Context(), db, "a", 5); err != nil {
		t.Fatal(err)
	}
	deletes := db.begin(t, sql.LevelReadCommitted)
	if err := db.fences.Forget(t.Context(), deletes, "a"); err != nil {
		t.Fatal(err)
	}
	after := make(chan error)
	go func() { after <- db.fences.CheckReadToken(context.Background(), db, "a", 5) }()
	awaitWaiting(t, db, after)
	if err := deletes.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-after; err != nil {
		t.Error(err)
	}
	if err := db.fences.CheckToken(t.Context(), db, "a", 5); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the reader was not kept: %v", err)
	}
}

// A table of the version before is used after the statement in the error, with
// its tokens.
func TestSQL_Migration_AddsTheColumn(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if err := db.fences.CheckToken(t.Context(), db, "a", 5); err != nil {
			t.Fatal(err)
		}
		db.exec(t, "ALTER TABLE "+quoted(db)+" DROP COLUMN read_token")
		migration, err := db.fences.Migration()
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			db.fences.CheckToken(t.Context(), db, "a", 5), db.fences.CheckReadToken(t.Context(), db, "a", 5),
		} {
			if err == nil || !strings.Contains(err.Error(), migration) || errors.Is(err, fence.ErrStale) {
				t.Fatalf("no column: %v", err)
			}
		}
		db.exec(t, migration)
		if _, err := db.Exec(migration); (err == nil) != (db.fences.Dialect == fence.PostgreSQL) {
			t.Errorf("once more: %v", err)
		}
		(step{true, 4, 5, false}).judge(t, "migrated", "a", db.fences.CheckReadToken(t.Context(), db, "a", 4))
		(step{true, 5, 0, false}).judge(t, "migrated", "a", db.fences.CheckReadToken(t.Context(), db, "a", 5))
		(step{false, 5, 5, true}).judge(t, "migrated", "a", db.fences.CheckToken(t.Context(), db, "a", 5))
		(step{false, 1, 0, false}).judge(t, "migrated", "new", db.fences.CheckToken(t.Context(), db, "new", 1))
	})
}

// 16 workers read and write a key; readers outnumber writers. Only serialization
// failures are retried, so none deadlocks.
func TestSQL_Readers_DoNotDeadlockOnAKey(t *testing.T) {
	const transactions, workers = 5_000, 16
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
						if n%8 == 0 {
							return db.write(t.Context(), tx, "order:42", 2+n/8)
						}
						_, err := db.read(t.Context(), tx, "order:42", 2+n/8)
						return err
					})
					switch {
					case errors.Is(err, fence.ErrStale):
						stale.Add(1)
					case err != nil && other.Add(1) < 5:
						t.Errorf("transaction %d: %v", n, err)
					}
				}
			})
		}
		all.Wait()
		t.Logf("%d transactions, %d of them stale", min(next.Load(), transactions), stale.Load())
	})
}
