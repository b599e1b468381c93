//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/venta-hq/redlock/contrib/fence/pgxfence"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// BenchmarkSQL is a transaction that updates one row, with the check and without.
func BenchmarkSQL(b *testing.B) {
	for _, d := range drivers {
		b.Run(d.name, func(b *testing.B) {
			db := open(b, d.driver, d.dsn(b), d.dialect)
			n := int64(100) // a holder writes a hundred times
			harness.Ratio(b, func() error {
				return db.once(sql.LevelDefault, func(tx *sql.Tx) error { return db.writeUnchecked(b.Context(), tx, n/100) })
			}, func() error {
				n++
				return db.once(sql.LevelDefault, func(tx *sql.Tx) error { return db.write(b.Context(), tx, "order:42", n/100) })
			})
		})
	}
	b.Run("pgxfence", benchmarkPGX)
}

// benchmarkPGX is the same with pgx's own interface.
func benchmarkPGX(b *testing.B) {
	db := open(b, "pgx", postgresDSN(b), fence.PostgreSQL)
	conn, err := pgx.Connect(b.Context(), db.dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	n, update := int64(100), "UPDATE "+db.data+" SET writer = $1 WHERE id = 1"
	harness.Ratio(b, func() error {
		return pgx.BeginFunc(b.Context(), conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(b.Context(), update, n/100)
			return err
		})
	}, func() error {
		n++
		return pgx.BeginFunc(b.Context(), conn, func(tx pgx.Tx) error {
			if err := pgxfence.CheckToken(b.Context(), db.fences, tx, "order:42", n/100); err != nil {
				return err
			}
			_, err := tx.Exec(b.Context(), update, n/100)
			return err
		})
	})
}
