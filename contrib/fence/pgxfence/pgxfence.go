// Package pgxfence checks fencing tokens inside transactions of
// github.com/jackc/pgx/v5, as [fence.SQL] does inside those of database/sql.
//
//	fences := fence.SQL{Dialect: fence.PostgreSQL}
//
//	err := pgx.BeginFunc(context.WithoutCancel(ctx), pool, func(tx pgx.Tx) error {
//		if err := pgxfence.Check(ctx, fences, tx, "order:42"); err != nil {
//			return err // errors.Is(err, fence.ErrStale): the lock has passed on
//		}
//		_, err := tx.Exec(ctx, `UPDATE orders SET …`)
//		return err
//	})
//
// Guarantees, errors and isolation levels are those of [fence.SQL]. A check
// that reaches [fence.SQL]'s Timeout closes its connection.
package pgxfence

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/venta-hq/redlock/fence"
)

// Tx is what a check runs on: a [pgx.Tx], or a *[pgx.Conn] with a transaction
// begun by hand.
type Tx interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// Check is [CheckToken] with the token of the lock on key that ctx is under.
// The error matches [fence.ErrNoToken] if ctx is under no lock on key.
func Check(ctx context.Context, s fence.SQL, tx Tx, key string) error {
	return fence.Check(ctx, On(s, tx), key)
}

// CheckToken returns a *[fence.StaleError] if the table has a newer token of
// key, and otherwise keeps token, if tx commits. See [fence.SQL.CheckToken].
func CheckToken(ctx context.Context, s fence.SQL, tx Tx, key string, token int64) error {
	return On(s, tx).CheckToken(context.WithoutCancel(ctx), key, token)
}

// CheckRead is [CheckReadToken] with the token of the lock on key that ctx is
// under, if that lock is shared. See [fence.CheckRead].
func CheckRead(ctx context.Context, s fence.SQL, tx Tx, key string) error {
	return fence.CheckRead(ctx, On(s, tx), key)
}

// CheckReadToken returns a *[fence.StaleError] if the table has a newer token
// of a writer of key, and otherwise keeps token as a reader's, if tx commits.
// See [fence.SQL.CheckReadToken].
func CheckReadToken(ctx context.Context, s fence.SQL, tx Tx, key string, token int64) error {
	return On(s, tx).CheckReadToken(context.WithoutCancel(ctx), key, token)
}

// On returns the table as a [fence.ReadStore] whose checks are part of tx. A
// pool is a Tx too; see [fence.SQL.On] for what its checks do not protect.
func On(s fence.SQL, tx Tx) fence.SQLStore {
	return s.OnRows(func(ctx context.Context, query string, args ...any) fence.Row {
		return tx.QueryRow(ctx, query, args...)
	})
}
