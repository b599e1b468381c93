//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/venta-hq/redlock/fence"
)

// refused reports what an older writer may get: that it is stale, or a
// serialization failure, and that it is stale when it retries.
func refused(t *testing.T, db *database, level sql.IsolationLevel, err error) {
	t.Helper()
	if level == sql.LevelReadCommitted && !errors.Is(err, fence.ErrStale) {
		t.Errorf("%v: %v; want ErrStale at once", level, err)
	}
	if err != nil && retriable(err) {
		t.Logf("%v: %v", level, err)
		err = db.retried(retriable, level, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "a", 1) })
	}
	if !errors.Is(err, fence.ErrStale) {
		t.Errorf("%v: %v; want ErrStale", level, err)
	}
	if w := db.writer(t); w != 2 {
		t.Errorf("%v: the newest is overwritten by %d", level, w)
	}
}

// forget makes the next level begin as the first did.
func forget(t *testing.T, db *database) {
	t.Helper()
	if err := db.fences.Forget(t.Context(), db, "a"); err != nil {
		t.Fatal(err)
	}
}

// The older holder's transaction has its snapshot from before the newer one came.
func TestSQL_Isolation_AnOldSnapshotDoesNotPass(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		if db.fences.Dialect == fence.SQLite {
			t.Skip("SQLite has one writer at a time: see TestSQL_Isolation_SQLiteReadsFirst")
		}
		for _, known := range []bool{false, true} {
			for _, level := range db.levels() {
				forget(t, db)
				if known {
					if err := db.fences.CheckToken(t.Context(), db, "a", 1); err != nil {
						t.Fatal(err)
					}
				}
				older := db.begin(t, level)
				var n int64
				if err := older.QueryRow("SELECT count(*) FROM " + quoted(db)).Scan(&n); err != nil {
					t.Fatal(err)
				}
				if level == sql.LevelSerializable && db.fences.Dialect == fence.MySQL {
					older.Rollback() // its reads lock what they read: the newer one would wait
					older = db.begin(t, level)
				}
				if err := db.once(level, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "a", 2) }); err != nil {
					t.Fatal(err)
				}
				err := db.write(t.Context(), older, "a", 1)
				if err == nil {
					err = older.Commit()
				}
				older.Rollback()
				refused(t, db, level, err)
			}
		}
	})
}

// MariaDB from 11.6 on does so by default.
func TestSQL_Isolation_MariaDBReportsAnOldSnapshot(t *testing.T) {
	db := open(t, "mysql", mariadbDSN(t)+"?innodb_snapshot_isolation=ON", fence.MySQL)
	older := db.begin(t, sql.LevelRepeatableRead)
	var n int64
	if err := older.QueryRow("SELECT count(*) FROM " + quoted(db)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if err := db.once(sql.LevelDefault, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "a", 2) }); err != nil {
		t.Fatal(err)
	}
	err := db.write(t.Context(), older, "a", 1)
	older.Rollback()
	var my *mysql.MySQLError
	if !errors.As(err, &my) || my.Number != 1020 {
		t.Errorf("%v; want error 1020", err)
	}
	refused(t, db, sql.LevelRepeatableRead, err)
}

// SQLite reports at once that a transaction which read cannot write any more.
func TestSQL_Isolation_SQLiteReadsFirst(t *testing.T) {
	d := drivers[len(drivers)-1]
	db := open(t, d.driver, d.dsn(t), d.dialect)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN DEFERRED"); err != nil {
		t.Fatal(err)
	}
	defer conn.ExecContext(context.Background(), "ROLLBACK")
	var n int64
	if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM "+db.data).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if err := db.once(sql.LevelDefault, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "a", 2) }); err != nil {
		t.Fatal(err)
	}
	if err := db.fences.CheckToken(t.Context(), conn, "a", 1); err == nil || !retriable(err) {
		t.Errorf("%v; want SQLITE_BUSY", err)
	}
}

// A check waits for the transaction that checked the key before it, and judges
// by what that one left.
func TestSQL_Isolation_ACheckWaitsForTheOneBefore(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, level := range db.levels() {
			for _, first := range []int64{1, 2} {
				forget(t, db)
				before := db.begin(t, level)
				if err := db.write(t.Context(), before, "a", first); err != nil {
					t.Fatal(err)
				}
				after := make(chan error)
				go func() {
					after <- db.once(level, func(tx *sql.Tx) error { return db.write(context.Background(), tx, "a", 3-first) })
				}()
				awaitWaiting(t, db, after)
				if err := before.Commit(); err != nil {
					t.Fatal(err)
				}
				err := <-after
				if first == 2 {
					refused(t, db, level, err)
					continue
				}
				if err != nil && retriable(err) {
					t.Logf("%v: %v", level, err)
					err = db.retried(retriable, level, func(tx *sql.Tx) error { return db.write(t.Context(), tx, "a", 2) })
				}
				if err != nil || db.writer(t) != 2 {
					t.Errorf("%v: %v, written by %d", level, err, db.writer(t))
				}
			}
		}
	})
}

// awaitWaiting returns when the server says that one of its transactions waits
// for a lock. SQLite does not say. Table innodb_trx of MariaDB is a copy that is
// not renewed while it is read again and again.
func awaitWaiting(t *testing.T, db *database, after <-chan error) {
	t.Helper()
	query := map[fence.Dialect]string{
		fence.PostgreSQL: "SELECT count(*) FROM pg_locks WHERE NOT granted",
		fence.MySQL:      "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'",
	}[db.fences.Dialect]
	for waiting := 0; query != "" && waiting == 0; {
		select {
		case err := <-after:
			t.Fatalf("the check did not wait: %v", err)
		default:
		}
		into := []any{&waiting}
		if db.fences.Dialect == fence.MySQL {
			into = []any{new(string), &waiting}
		}
		if err := db.QueryRow(query).Scan(into...); err != nil {
			t.Fatal(err)
		}
	}
}
