package fence

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Dialect is the SQL of a database server.
type Dialect int

const (
	PostgreSQL Dialect = iota + 1 // 9.5 and later
	MySQL                         // and MariaDB, with InnoDB; only MariaDB was tested, see SQL
	SQLite                        // 3.35 and later
)

func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// Schema returns the statement that creates the table redlock_fence, for a
// migration. The statement changes nothing if the table exists. Schema panics
// if d is none of the constants. See [SQL.Schema] for another name.
func Schema(d Dialect) string {
	text, err := SQL{Dialect: d}.Schema()
	if err != nil {
		panic(err)
	}
	return text
}

// Schema returns the statement that creates the table, for a migration. The
// statement changes nothing if the table exists. The error says what is wrong
// with a field.
//
// # Deleting rows
//
// A check never deletes a row. Without the row of a key, any token of the key
// passes: a writer that held the lock before the row's newest holder can then
// overwrite what that holder wrote, and nothing reports it.
//
// So delete a row when no writer with an older token can exist any more. Column
// seen_at is the time of the key's last check. In PostgreSQL, checks of readers
// whose token was seen before do not set it. Every older token was issued before
// that time. The row may be deleted once everything that could hold a lock on
// the key at seen_at has ended: the processes, also those that never checked;
// their sessions in the database; and requests, messages and queued jobs that
// carry a token. Where every process is restarted at least once a week and
// nothing that carries a token is kept for longer, two weeks are enough:
//
//	DELETE FROM redlock_fence WHERE seen_at < now() - interval '14 days'           -- PostgreSQL
//	DELETE FROM redlock_fence WHERE seen_at < CURRENT_TIMESTAMP - INTERVAL 14 DAY  -- MySQL
//	DELETE FROM redlock_fence WHERE seen_at < datetime('now', '-14 days')          -- SQLite
//
// Each of them looks at a row again if it had to wait for a check, and leaves it
// if that check was made in time. Run it in a transaction of its own, under READ
// COMMITTED in MySQL and MariaDB, which otherwise lock every row until it ends.
func (s SQL) Schema() (string, error) {
	table, err := s.quotedTable()
	if err != nil {
		return "", err
	}
	return s.Dialect.schema(table), nil
}

// schema has one index, the primary key, on the key's SHA-256: keys are longer
// than what servers can index, and InnoDB locks gaps between rows only in other
// indexes.
func (d Dialect) schema(table string) string {
	columns := [...]string{
		PostgreSQL: `
	id         bytea NOT NULL PRIMARY KEY,
	lock_key   bytea NOT NULL,
	token      bigint NOT NULL,
	read_token bigint NOT NULL DEFAULT 0,
	seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
)`,
		MySQL: `
	id         BINARY(32) NOT NULL PRIMARY KEY,
	lock_key   MEDIUMBLOB NOT NULL,
	token      BIGINT NOT NULL,
	read_token BIGINT NOT NULL DEFAULT 0,
	seen_at    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB`,
		SQLite: `
	id         BLOB NOT NULL PRIMARY KEY,
	lock_key   BLOB NOT NULL,
	token      INTEGER NOT NULL,
	read_token INTEGER NOT NULL DEFAULT 0,
	seen_at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID`,
	}
	return "CREATE TABLE IF NOT EXISTS " + table + " (" + columns[d]
}

// Migration returns the statement that adds column read_token to a table
// redlock_fence that was created without it, by a version that did not know
// readers. Run it once, before programs of this version; those of the version
// before go on with the table. Migration panics if d is none of the constants.
// See [SQL.Migration] for another name.
//
// In PostgreSQL 9.6 and later a second run changes nothing. MySQL, MariaDB and
// SQLite report in a second run that the column exists, which is harmless; so
// does PostgreSQL 9.5, where IF NOT EXISTS has to be left out.
//
// In PostgreSQL the statement waits for every open transaction that has used the
// table, and all later checks wait behind it. Run it with a lock_timeout of a
// few seconds, and again if it fails, so that one long transaction does not
// stop all writers.
func Migration(d Dialect) string {
	text, err := SQL{Dialect: d}.Migration()
	if err != nil {
		panic(err)
	}
	return text
}

// Migration returns the statement of [Migration] for the table. The error says
// what is wrong with a field.
func (s SQL) Migration() (string, error) {
	table, err := s.quotedTable()
	if err != nil {
		return "", err
	}
	return s.Dialect.migration(table), nil
}

func (d Dialect) migration(table string) string {
	unless := ""
	if d == PostgreSQL { // MySQL and SQLite do not know it
		unless = "IF NOT EXISTS "
	}
	return "ALTER TABLE " + table + " ADD COLUMN " + unless + "read_token BIGINT NOT NULL DEFAULT 0"
}

// statement is SQL that results in one number: that of its row, or else the
// result's LastInsertId.
type statement struct {
	text string
	args []any
	row  bool
}

// check is the statement of a writer's check. Its number is the largest rank
// (see seen.go) of a holder that was seen, this one included. It writes even if
// token is stale: what it wants is the lock on the row, and one statement that
// sees the row as it is once the lock is granted.
func (d Dialect) check(table, key string, token int64) statement {
	id := sha256.Sum256([]byte(key))
	switch d {
	case PostgreSQL:
		return statement{"INSERT INTO " + table + " AS f (id, lock_key, token) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE" +
			" SET token = CASE WHEN f.read_token < EXCLUDED.token THEN GREATEST(f.token, EXCLUDED.token) ELSE f.token END," +
			" seen_at = clock_timestamp()" +
			" RETURNING GREATEST(2 * token, 2 * read_token + 1)", []any{id[:], []byte(key), token}, true}
	case SQLite:
		return statement{"INSERT INTO " + table + " AS f (id, lock_key, token) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE" +
			" SET token = CASE WHEN f.read_token < excluded.token THEN max(f.token, excluded.token) ELSE f.token END," +
			" seen_at = CURRENT_TIMESTAMP" +
			" RETURNING max(2 * token, 2 * read_token + 1)", []any{id[:], []byte(key), token}, true}
	}
	// MySQL returns no rows from an INSERT, but the argument of LAST_INSERT_ID
	// with the result. Hex literals can hold no SQL, and spare the round trips
	// of a prepared statement. If the rank of the row is above that of token,
	// the row stays as it is.
	return statement{text: fmt.Sprintf("INSERT INTO %s (id, lock_key, token) VALUES (x'%x', x'%x', LAST_INSERT_ID(%d) DIV 2)"+
		" ON DUPLICATE KEY UPDATE token = IF(LAST_INSERT_ID(GREATEST(%[4]d, 2 * token, 2 * read_token + 1)) > %[4]d, token, %d),"+
		" seen_at = CURRENT_TIMESTAMP",
		table, id, key, writerRank(token), token)}
}

// checkRead is check for a reader. Other readers' ranks are no part of its
// number.
func (d Dialect) checkRead(table, key string, token int64) statement {
	id := sha256.Sum256([]byte(key))
	switch d {
	case PostgreSQL:
		// Readers whose token was seen lock the row together. One with a newer
		// token than any reader before it locks the row alone, once those have
		// committed. It does not lock it together with others before: two of
		// them would wait for each other.
		return statement{"WITH kept AS (" +
			"INSERT INTO " + table + " AS f (id, lock_key, token, read_token)" +
			" SELECT $1::bytea, $2::bytea, 0, $3::bigint WHERE NOT EXISTS (SELECT FROM " + table + " WHERE id = $1::bytea AND read_token >= $3::bigint)" +
			" ON CONFLICT (id) DO UPDATE" +
			" SET read_token = CASE WHEN f.token <= EXCLUDED.read_token THEN GREATEST(f.read_token, EXCLUDED.read_token) ELSE f.read_token END," +
			" seen_at = clock_timestamp()" +
			" RETURNING token, read_token" +
			"), there AS (" +
			"SELECT token, read_token FROM " + table + " WHERE id = $1::bytea AND NOT EXISTS (SELECT FROM kept) FOR SHARE" +
			") SELECT COALESCE(MAX(GREATEST(2 * token, 2 * LEAST(read_token, $3::bigint) + 1)), 0)" +
			" FROM (SELECT * FROM kept UNION ALL SELECT * FROM there) AS f", []any{id[:], []byte(key), token}, true}
	case SQLite:
		return statement{"INSERT INTO " + table + " AS f (id, lock_key, token, read_token) VALUES (?1, ?2, 0, ?3) ON CONFLICT (id) DO UPDATE" +
			" SET read_token = CASE WHEN f.token <= excluded.read_token THEN max(f.read_token, excluded.read_token) ELSE f.read_token END," +
			" seen_at = CURRENT_TIMESTAMP" +
			" RETURNING max(2 * token, 2 * min(read_token, ?3) + 1)", []any{id[:], []byte(key), token}, true}
	}
	return statement{text: fmt.Sprintf("INSERT INTO %s (id, lock_key, token, read_token) VALUES (x'%x', x'%x', 0, LAST_INSERT_ID(%d) DIV 2)"+
		" ON DUPLICATE KEY UPDATE read_token = IF(LAST_INSERT_ID(GREATEST(%[4]d, 2 * token)) > %[4]d, read_token, GREATEST(read_token, %d)),"+
		" seen_at = CURRENT_TIMESTAMP",
		table, id, key, readerRank(token), token)}
}

// forget is the statement that deletes the row of key. Its number means nothing.
func (d Dialect) forget(table, key string) statement {
	id := sha256.Sum256([]byte(key))
	switch d {
	case PostgreSQL: // a count, so that there is a row in any case
		return statement{"WITH gone AS (DELETE FROM " + table + " WHERE id = $1 RETURNING id) SELECT count(*) FROM gone",
			[]any{id[:]}, true}
	case SQLite:
		return statement{text: "DELETE FROM " + table + " WHERE id = ?", args: []any{id[:]}}
	}
	return statement{text: fmt.Sprintf("DELETE FROM %s WHERE id = x'%x'", table, id)}
}

// tableMissing reports whether a driver's error says that the table does not
// exist. It must do without the drivers' types.
func (d Dialect) tableMissing(err error) bool {
	switch d {
	case PostgreSQL:
		var coded interface{ SQLState() string } // of pgx and lib/pq
		return errors.As(err, &coded) && coded.SQLState() == "42P01"
	case MySQL:
		return strings.Contains(err.Error(), "Error 1146")
	}
	return strings.Contains(err.Error(), "no such table")
}

// columnMissing reports whether a driver's error says that the table has no
// column read_token.
func (d Dialect) columnMissing(err error) bool {
	text := err.Error()
	if !strings.Contains(text, "read_token") {
		return false
	}
	switch d {
	case PostgreSQL:
		var coded interface{ SQLState() string }
		return errors.As(err, &coded) && coded.SQLState() == "42703"
	case MySQL:
		return strings.Contains(text, "Error 1054")
	}
	return strings.Contains(text, "no such column") || strings.Contains(text, "has no column named read_token")
}

var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// quotedTable checks the fields, and is the table's name as statements have it.
func (s SQL) quotedTable() (string, error) {
	name, quote := s.Table, `"`
	if name == "" {
		name = defaultTable
	}
	if s.Dialect == MySQL {
		quote = "`"
	}
	var faults []error
	if s.Dialect < PostgreSQL || s.Dialect > SQLite {
		faults = append(faults, fmt.Errorf("redlock: fence: SQL.Dialect is %v; use fence.PostgreSQL, fence.MySQL or fence.SQLite", s.Dialect))
	}
	if !tableName.MatchString(name) {
		faults = append(faults, fmt.Errorf("redlock: fence: SQL.Table is %q; use ASCII letters, digits and underscores, no digit first, "+
			"at most 63 of them, and a schema of the same form with a dot before them if it needs one", name))
	}
	if s.Timeout < 0 {
		faults = append(faults, fmt.Errorf("redlock: fence: SQL.Timeout is %v; it must not be negative", s.Timeout))
	}
	return quote + strings.ReplaceAll(name, ".", quote+"."+quote) + quote, errors.Join(faults...)
}
