package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lock"
)

// database is what all instances share: users, and the steps of orders that are
// done. Steps are guarded by the fencing tokens of the locks on their orders.
type database struct {
	*sql.DB
	fences fence.SQL
}

// steps are what is done for an order, each once.
var steps = []string{"reserve", "charge"}

// openDatabase opens what dsn names: PostgreSQL if it is a postgres:// URL, and
// otherwise the SQLite file of that path.
func openDatabase(dsn string) (*database, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		db, err := sql.Open("pgx", dsn)
		return &database{db, fence.SQL{Dialect: fence.PostgreSQL}}, err
	}
	path, err := filepath.Abs(dsn)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/")}
	// Instances wait for each other's writes, and a transaction takes the write
	// lock when it begins, so it never fails halfway for another's sake.
	file.RawQuery = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	db, err := sql.Open("sqlite", file.String())
	return &database{db, fence.SQL{Dialect: fence.SQLite}}, err
}

// prepare creates the tables and empties those of an earlier run. What is known
// of tokens stays: they go on growing.
func (d *database) prepare(ctx context.Context) error {
	for _, text := range []string{
		fence.Schema(d.fences.Dialect),
		`CREATE TABLE IF NOT EXISTS shop_users (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS shop_loads (user_id TEXT NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS shop_steps (order_id TEXT NOT NULL, step TEXT NOT NULL, token BIGINT NOT NULL, PRIMARY KEY (order_id, step))`,
		`DELETE FROM shop_users`, `DELETE FROM shop_loads`, `DELETE FROM shop_steps`,
	} {
		if _, err := d.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// user loads a user's name, and counts that for the demonstration.
func (d *database) user(ctx context.Context, id string) (name string, err error) {
	if _, err := d.ExecContext(ctx, `INSERT INTO shop_loads (user_id) VALUES ($1)`, id); err != nil {
		return "", err
	}
	err = d.QueryRowContext(ctx, `SELECT name FROM shop_users WHERE id = $1`, id).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		err = cache.ErrNotFound
	}
	return name, err
}

func (d *database) userLoads(ctx context.Context) (n int, err error) {
	err = d.QueryRowContext(ctx, `SELECT count(*) FROM shop_loads`).Scan(&n)
	return n, err
}

func (d *database) setUser(ctx context.Context, id, name string) error {
	_, err := d.ExecContext(ctx, `INSERT INTO shop_users (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name`, id, name)
	return err
}

// lockOn is the key of the lock on an order.
func lockOn(order string) string { return "order:" + order }

// perform does a step of an order under the lock on it, unless it was done
// before: its writer may have died before it learned that it was. The error
// matches [fence.ErrStale] if a newer holder of the lock was here. The check
// and the write are one transaction, so no newer holder comes in between.
func (d *database) perform(ctx context.Context, order, step string) (done bool, err error) {
	tx, err := d.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	if err := d.fences.Check(ctx, tx, lockOn(order)); err != nil {
		return false, err
	}
	token, _ := lock.Token(ctx)
	result, err := tx.ExecContext(ctx, `INSERT INTO shop_steps (order_id, step, token) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, order, step, token)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, err
	}
	return n == 1, tx.Commit()
}

// token is the one under which a step was done.
func (d *database) token(ctx context.Context, order, step string) (token int64, err error) {
	err = d.QueryRowContext(ctx, `SELECT token FROM shop_steps WHERE order_id = $1 AND step = $2`, order, step).Scan(&token)
	return token, err
}
