//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// deletion is the statement of the documentation that deletes old rows.
func deletion(t *testing.T, db *database) string {
	t.Helper()
	found := regexp.MustCompile(`(DELETE FROM )redlock_fence( WHERE .*?) +-- ` + db.fences.Dialect.String()).FindStringSubmatch(harness.ReadFile(t, "../../fence/dialect.go"))
	if found == nil {
		t.Fatalf("the documentation has none for %v", db.fences.Dialect)
	}
	return found[1] + quoted(db) + found[2]
}

// age makes the row of a key look as if it was checked so many days ago.
func (db *database) age(t *testing.T, key string, days string) {
	t.Helper()
	now := map[fence.Dialect]string{
		fence.PostgreSQL: "now() - interval '%d days'", fence.MySQL: "CURRENT_TIMESTAMP - INTERVAL %d DAY", fence.SQLite: "datetime('now', '-%d days')",
	}[db.fences.Dialect]
	text := "UPDATE " + quoted(db) + " SET seen_at = " + strings.Replace(now, "%d", days, 1) + " WHERE lock_key = "
	if db.fences.Dialect == fence.PostgreSQL {
		text += "convert_to('" + key + "', 'UTF8')"
	} else {
		text += "CAST('" + key + "' AS " + map[fence.Dialect]string{fence.MySQL: "BINARY", fence.SQLite: "BLOB"}[db.fences.Dialect] + ")"
	}
	result, err := db.Exec(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%s: %d rows, %v", text, n, err)
	}
}

func (db *database) mustCheck(t *testing.T, key string, token int64) {
	t.Helper()
	if err := db.fences.CheckToken(t.Context(), db, key, token); err != nil {
		t.Fatal(err)
	}
}

func TestSQL_DeletingRows_TakesTheOldOnes(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		db.mustCheck(t, "new", 9)
		for key, days := range map[string]string{"young": "13", "old": "15", "in use": "15"} {
			db.mustCheck(t, key, 9)
			db.age(t, key, days)
		}
		db.mustCheck(t, "in use", 9)
		db.exec(t, deletion(t, db))
		for _, key := range []string{"new", "young", "in use"} {
			if err := db.fences.CheckToken(t.Context(), db, key, 8); !errors.Is(err, fence.ErrStale) {
				t.Errorf("the row of %s was deleted: %v", key, err)
			}
		}
		// This is what a row protects from, and what breaks if it is deleted early.
		if err := db.once(sql.LevelDefault, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "old", 8) }); err != nil {
			t.Errorf("the row of old was not deleted: %v", err)
		}
	})
}

// A check that comes between keeps its row.
func TestSQL_DeletingRows_LeavesOneThatIsBeingChecked(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if db.fences.Dialect == fence.SQLite {
			t.Skip("SQLite has one writer at a time")
		}
		db.mustCheck(t, "old", 9)
		db.age(t, "old", "15")
		checks := db.begin(t, sql.LevelReadCommitted)
		if err := db.fences.CheckToken(t.Context(), checks, "old", 10); err != nil {
			t.Fatal(err)
		}
		deleted, statement := make(chan error), deletion(t, db)
		go func() {
			deleted <- db.once(sql.LevelReadCommitted, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(context.Background(), statement)
				return err
			})
		}()
		awaitWaiting(t, db, deleted)
		if err := checks.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-deleted; err != nil {
			t.Fatal(err)
		}
		if err := db.fences.CheckToken(t.Context(), db, "old", 9); !errors.Is(err, fence.ErrStale) {
			t.Errorf("the row was deleted: %v", err)
		}
	})
}

// Until it commits, it locks what it deletes and nothing else.
func TestSQL_DeletingRows_HoldsUpNoOtherKey(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if db.fences.Dialect == fence.SQLite {
			t.Skip("SQLite has one writer at a time")
		}
		for _, key := range []string{"a", "old", "z"} {
			db.mustCheck(t, key, 9)
		}
		db.age(t, "old", "15")
		deletes := db.begin(t, sql.LevelReadCommitted)
		if _, err := deletes.Exec(deletion(t, db)); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "z", "never seen"} {
			db.mustCheck(t, key, 10)
		}
	})
}

// A refused check that is committed all the same changes no token.
func TestSQL_ARefusedCheckChangesNoToken(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			forget(t, db)
			db.mustCheck(t, "a", 5)
			for _, token := range []int64{9, 7, 8, 1} {
				tx := db.begin(t, level)
				err := db.fences.CheckToken(t.Context(), tx, "a", token)
				if (token < 9) != errors.Is(err, fence.ErrStale) {
					t.Errorf("%v: token %d: %v", level, token, err)
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			var newest int64
			if err := db.QueryRow("SELECT token FROM " + quoted(db)).Scan(&newest); err != nil || newest != 9 {
				t.Errorf("%v: the newest token is %d, want 9: %v", level, newest, err)
			}
		}
	})
}
