//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"modernc.org/sqlite"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/dbserver"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A server is started by the first test that needs it.
var (
	started  []*dbserver.Server
	postgres = once(dbserver.PostgreSQL)
	mariadb  = once(dbserver.MariaDB)
)

func once(start func() (*dbserver.Server, error)) func() (*dbserver.Server, error) {
	return sync.OnceValues(func() (*dbserver.Server, error) {
		s, err := start()
		if err == nil {
			started = append(started, s)
		}
		return s, err
	})
}

// TestMain is also the main function of processes that tests start.
func TestMain(m *testing.M) {
	chaos.RunIfClient()
	if what := os.Getenv(holderEnv); what != "" {
		os.Exit(beHolder(what))
	}
	os.Exit(harness.Run(m, func() {
		for _, s := range started {
			s.Close()
		}
	}))
}

// database is one that a test has for itself.
type database struct {
	*sql.DB
	fences fence.SQL
	data   string // a table with one row: id 1, writer 0

	driver, dsn string
}

var databases atomic.Int64

// way is one to open a database; dsn starts its server.
type way struct {
	name    string
	driver  string
	dialect fence.Dialect
	dsn     func(testing.TB) string
}

var drivers = []way{
	{"pgx", "pgx", fence.PostgreSQL, postgresDSN},
	{"pq", "postgres", fence.PostgreSQL, postgresDSN},
	{"mariadb", "mysql", fence.MySQL, mariadbDSN},
	{"sqlite", "sqlite", fence.SQLite, func(t testing.TB) string {
		return "file:" + filepath.Join(t.TempDir(), "db") + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate"
	}},
}

func postgresDSN(t testing.TB) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", run(t, postgres).Port)
}

func mariadbDSN(t testing.TB) string {
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/mysql", run(t, mariadb).Port)
}

// A MySQL server, which the tests cannot start, takes part if this variable
// names it.
func init() {
	if dsn := os.Getenv("REDLOCK_TEST_MYSQL"); dsn != "" {
		mysql := way{"mysql", "mysql", fence.MySQL, func(testing.TB) string { return dsn }}
		drivers = append([]way{mysql}, drivers...)
	}
}

func run(t testing.TB, start func() (*dbserver.Server, error)) *dbserver.Server {
	t.Helper()
	s, err := start()
	if errors.Is(err, dbserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onEach runs f on a new database of each server, through each driver.
func onEach(t *testing.T, f func(*testing.T, *database)) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			f(t, open(t, d.driver, d.dsn(t), d.dialect))
		})
	}
}

// open makes the tables that a test has for itself.
func open(t testing.TB, driver, dsn string, dialect fence.Dialect) *database {
	t.Helper()
	n := databases.Add(1)
	db := &database{driver: driver, dsn: dsn, data: fmt.Sprintf("orders_%d", n),
		fences: fence.SQL{Dialect: dialect, Table: fmt.Sprintf("Fence_%d", n), Timeout: time.Minute}}
	var err error
	if db.DB, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(64)
	db.SetMaxIdleConns(64)
	t.Cleanup(func() { db.Close() })
	schema, err := db.fences.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{schema, schema,
		"CREATE TABLE " + db.data + " (id BIGINT NOT NULL PRIMARY KEY, writer BIGINT NOT NULL)",
		"INSERT INTO " + db.data + " VALUES (1, 0)",
	} {
		db.exec(t, text)
	}
	return db
}

func (db *database) exec(t testing.TB, text string) {
	t.Helper()
	if _, err := db.Exec(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// writer is who wrote last.
func (db *database) writer(t testing.TB) (token int64) {
	t.Helper()
	if err := db.QueryRow("SELECT writer FROM " + db.data + " WHERE id = 1").Scan(&token); err != nil {
		t.Fatal(err)
	}
	return token
}

// begin begins a transaction that is rolled back when the test ends.
func (db *database) begin(t testing.TB, level sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

// write is what a holder does: it checks its token, and writes it as data.
func (db *database) write(ctx context.Context, tx *sql.Tx, key string, token int64) error {
	if err := db.fences.CheckToken(ctx, tx, key, token); err != nil {
		return err
	}
	return db.writeUnchecked(ctx, tx, token)
}

func (db *database) writeUnchecked(ctx context.Context, tx *sql.Tx, token int64) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET writer = %d WHERE id = 1", db.data, token))
	return err
}

// retried runs f in a transaction again while it fails with an error for which
// again is true.
func (db *database) retried(again func(error) bool, level sql.IsolationLevel, f func(*sql.Tx) error) error {
	for {
		err := db.once(level, f)
		if err == nil || !again(err) {
			return err
		}
	}
}

func (db *database) once(level sql.IsolationLevel, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: level})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// notSerialized reports whether err is a serialization failure of PostgreSQL.
func notSerialized(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == "40001"
}

// retriable reports whether err is one of those that the documentation asks
// callers to retry: a serialization failure or a deadlock.
func retriable(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return notSerialized(err) || state.SQLState() == "40P01"
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		return my.Number == 1213 || my.Number == 1205 || my.Number == 1020
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == 5 // SQLITE_BUSY, and its variants
}

// levels are the isolation levels that a server has.
func (db *database) levels() []sql.IsolationLevel {
	if db.fences.Dialect == fence.SQLite {
		return []sql.IsolationLevel{sql.LevelSerializable}
	}
	return []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
}
