package fence

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// SQL checks tokens in a table of the database that the work writes to. The
// check belongs in the same transaction as the writes, before them and before
// any read on which they depend:
//
//	fences := fence.SQL{Dialect: fence.PostgreSQL}
//
//	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
//	if err != nil {
//		return err
//	}
//	defer tx.Rollback()
//	if err := fences.Check(ctx, tx, "order:42"); err != nil {
//		return err // errors.Is(err, fence.ErrStale): the lock has passed on
//	}
//	if _, err := tx.ExecContext(ctx, `UPDATE orders SET …`); err != nil {
//		return err
//	}
//	return tx.Commit()
//
// A check locks its key's row until the transaction ends. A newer holder's
// check waits for that, so it never passes between an older holder's check and
// commit. Checks of different keys do not wait for each other, except in
// SQLite, which has one writer at a time. After any error, roll back.
//
// A process that stops inside a transaction keeps its row locked, and newer
// holders waiting, until the server ends its session. Set PostgreSQL's
// idle_in_transaction_session_timeout, or MariaDB's
// idle_write_transaction_timeout.
//
// # Servers
//
// The tests run on PostgreSQL 15, MariaDB 10.11 and SQLite 3.54, through
// github.com/jackc/pgx/v5, github.com/lib/pq, github.com/go-sql-driver/mysql and
// modernc.org/sqlite. MySQL was not tested; what is said about it here follows
// its manual. To test yours, in a database that the tests may fill:
//
//	REDLOCK_TEST_MYSQL='user:password@tcp(host:3306)/scratch' go -C contrib/fence test -run SQL .
//
// # Isolation levels
//
// All levels are safe. A check may fail as any write may, with a serialization
// failure or a deadlock; nothing is written, and the caller retries the whole
// transaction:
//
//   - PostgreSQL under REPEATABLE READ and SERIALIZABLE: SQLSTATE 40001 if
//     another check of the key committed since the transaction's snapshot.
//     SERIALIZABLE may also report it on commit. READ COMMITTED waits instead.
//   - MySQL and MariaDB: error 1213 is a deadlock, as when the first check ever
//     of a key is rolled back while several others wait for it; 1205 is a row
//     lock that was not released within innodb_lock_wait_timeout. MariaDB with
//     innodb_snapshot_isolation reports 1020 under REPEATABLE READ if the
//     transaction read before it checked, and another committed since.
//   - SQLite: SQLITE_BUSY if another writer stays longer than the busy timeout,
//     and at once if the transaction read before it checked. BEGIN IMMEDIATE
//     avoids the latter.
type SQL struct {
	Dialect Dialect // required

	// Table is the name of the table, with its schema and a dot before it if
	// that is not the connection's own; the default is "redlock_fence". Names
	// are ASCII letters, digits and underscores, do not begin with a digit, and
	// have at most 63 bytes. They are quoted, so PostgreSQL does not fold them
	// to lower case.
	Table string

	// Timeout bounds a check, as its context does not; the default is 5s. It
	// should exceed the longest transaction that checks the same key.
	Timeout time.Duration
}

const (
	defaultTable   = "redlock_fence"
	defaultTimeout = 5 * time.Second
)

// Tx is what a check runs on: a *[sql.Tx], or a *[sql.Conn] with a transaction
// begun by hand. A *[sql.DB] is one too, but see [SQL.On].
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Row is what a query of one row returns, such as *[sql.Row].
type Row interface {
	Scan(dest ...any) error
}

// Check is [SQL.CheckToken] with the token of the lock on key that ctx is
// under. The error matches [ErrNoToken] if ctx is under no lock on key.
func (s SQL) Check(ctx context.Context, tx Tx, key string) error {
	return Check(ctx, s.On(tx), key)
}

// CheckToken returns a *[StaleError] if the table has a newer token of key, or
// a reader's that is as new. Otherwise it keeps token as the newest, if tx
// commits, and returns nil; it does so for an equal token, which is the same
// holder's. It costs one round trip, and one more with drivers that prepare
// every statement, such as lib/pq without binary_parameters=yes.
//
// It may be called when ctx has ended with its lock: it does not end with ctx,
// only after [SQL.Timeout]. A *[sql.Tx] does end with the context it was begun
// under: begun under the lock's, it is rolled back when the lock is lost, and
// its commit fails, whatever the check returned.
func (s SQL) CheckToken(ctx context.Context, tx Tx, key string, token int64) error {
	return s.On(tx).CheckToken(context.WithoutCancel(ctx), key, token)
}

// CheckRead is [CheckRead] with the table: [SQL.CheckReadToken] with the token
// of the lock on key that ctx is under, if that lock is shared.
//
//	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil) // not read-only: the check writes
//	…
//	if err := fences.CheckRead(ctx, tx, "catalog"); err != nil {
//		return err
//	}
//	rows, err := tx.QueryContext(ctx, `SELECT …`)
func (s SQL) CheckRead(ctx context.Context, tx Tx, key string) error {
	return CheckRead(ctx, s.On(tx), key)
}

// CheckReadToken returns a *[StaleError] if the table has a newer token of a
// writer of key. Otherwise it keeps token as that of a reader, if tx commits,
// and returns nil. What is said of [SQL.CheckToken] is true of it.
//
// Until tx ends, a newer writer's check waits for it. In MySQL, MariaDB and
// SQLite, which would report deadlocks instead, a reader waits until the reader
// before has committed. In PostgreSQL, readers whose token was seen pass beside
// each other. One with a newer token than any reader before it waits until all
// of those have committed, and later readers wait until it has.
//
// So let readers that read for long check in a short transaction of its own, and
// then read in another from one snapshot. No older writer changes what that one
// sees.
func (s SQL) CheckReadToken(ctx context.Context, tx Tx, key string, token int64) error {
	return s.On(tx).CheckReadToken(context.WithoutCancel(ctx), key, token)
}

// Forget removes what is known of key. Read "Forgetting" in the package comment
// first.
func (s SQL) Forget(ctx context.Context, tx Tx, key string) error {
	return s.On(tx).Forget(ctx, key)
}

// On returns the table as a [Store]. Given a transaction, its checks are part
// of it. Given a *[sql.DB], each check commits at once: it does not protect
// writes to that database, which a newer holder may overtake after the check,
// but serves users of a Store such as a [Handler].
func (s SQL) On(db Tx) SQLStore { return SQLStore{s, runOn(db)} }

// OnRows is [SQL.On] for a driver that has an interface of its own, such as
// pgx. Function query runs a statement that returns one row. It serves
// [PostgreSQL].
func (s SQL) OnRows(query func(ctx context.Context, query string, args ...any) Row) SQLStore {
	return SQLStore{s, func(ctx context.Context, st statement) (n int64, err error) {
		if !st.row {
			return 0, fmt.Errorf("SQL.OnRows does not serve %v; use SQL.On", s.Dialect)
		}
		err = query(ctx, st.text, st.args...).Scan(&n)
		return n, err
	}}
}

// SQLStore is a [ReadStore] that [SQL.On] makes.
type SQLStore struct {
	sql SQL
	run func(context.Context, statement) (int64, error) // and returns its number
}

var _ ReadStore = SQLStore{}

func runOn(tx Tx) func(context.Context, statement) (int64, error) {
	return func(ctx context.Context, st statement) (n int64, err error) {
		if st.row {
			err = tx.QueryRowContext(ctx, st.text, st.args...).Scan(&n)
			return n, err
		}
		result, err := tx.ExecContext(ctx, st.text, st.args...)
		if err != nil {
			return 0, err
		}
		return result.LastInsertId()
	}
}

// CheckToken implements [Store]. Unlike [SQL.CheckToken] it also ends with ctx.
func (s SQLStore) CheckToken(ctx context.Context, key string, token int64) error {
	return s.check(ctx, key, token, writerRank(token), s.sql.Dialect.check)
}

// CheckReadToken implements [ReadStore]. Unlike [SQL.CheckReadToken] it also
// ends with ctx.
func (s SQLStore) CheckReadToken(ctx context.Context, key string, token int64) error {
	return s.check(ctx, key, token, readerRank(token), s.sql.Dialect.checkRead)
}

// check runs a statement that results in the newest rank, and compares it with
// that of the token.
func (s SQLStore) check(ctx context.Context, key string, token, rank int64, build func(table, key string, token int64) statement) error {
	if err := valid(key, token); err != nil {
		return err
	}
	ask := func() (int64, error) {
		return s.do(ctx, "check", key, func(table string) statement { return build(table, key, token) })
	}
	newest, err := ask()
	if err == nil && newest == 0 { // of a reader in PostgreSQL whose row was deleted while it waited for it
		newest, err = ask()
	}
	switch {
	case err != nil:
		return err
	case newest > rank:
		return outranked(key, token, newest)
	case newest < rank: // such as of a proxy that drops what MySQL reports
		return fmt.Errorf("redlock: fence: %q: check: token %d was not kept, the server reports %d; check that it speaks %v, "+
			"and that neither a proxy nor a trigger changes the statement", key, token, newest/2, s.sql.Dialect)
	}
	return nil
}

// Forget removes what is known of key. Read "Forgetting" in the package comment
// first.
func (s SQLStore) Forget(ctx context.Context, key string) error {
	if err := valid(key, 1); err != nil {
		return err
	}
	_, err := s.do(ctx, "forget", key, func(table string) statement {
		return s.sql.Dialect.forget(table, key)
	})
	return err
}

// do runs one statement, for no longer than Timeout.
func (s SQLStore) do(ctx context.Context, op, key string, build func(table string) statement) (int64, error) {
	table, err := s.sql.quotedTable()
	if err != nil {
		return 0, err
	}
	timeout := s.sql.timeout()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, err := s.run(bounded, build(table))
	switch {
	case err == nil:
		return n, nil
	case s.sql.Dialect.tableMissing(err):
		return 0, errs.Errorf("redlock: fence: %q: %s: table %s is missing; create it as SQL.Schema says: %s: %w",
			key, op, table, strings.Join(strings.Fields(s.sql.Dialect.schema(table)), " "), err)
	case s.sql.Dialect.columnMissing(err):
		return 0, errs.Errorf("redlock: fence: %q: %s: table %s was created by a version that did not know readers; add the column as SQL.Migration says: %s: %w",
			key, op, table, s.sql.Dialect.migration(table), err)
	case bounded.Err() != nil && ctx.Err() == nil:
		return 0, errs.Errorf("redlock: fence: %q: %s: not within %v; another transaction that checked this key may be open: %w",
			key, op, timeout, err)
	}
	return 0, errs.Errorf("redlock: fence: %q: %s: %w", key, op, err)
}

func (s SQL) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}
