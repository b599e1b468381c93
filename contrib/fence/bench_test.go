//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"testing"
)

// BenchmarkSQL is a transaction that updates one row, with the check and without.
func BenchmarkSQL(b *testing.B) {
	for _, d := range drivers {
		b.Run(d.name, func(b *testing.B) {
			db := open(b, d.driver, d.dsn(b), d.dialect)
			n := int64(100) // a holder writes a hundred times
			for _, bb := range []struct {
				name  string
				write func(context.Context, *sql.Tx, int64) error
			}{
				{"bare", db.writeUnchecked},
				{"checked", func(ctx context.Context, tx *sql.Tx, n int64) error { return db.write(ctx, tx, "order:42", n) }},
			} {
				b.Run(bb.name, func(b *testing.B) {
					for ; b.Loop(); n++ {
						err := db.once(sql.LevelDefault, func(tx *sql.Tx) error { return bb.write(b.Context(), tx, n/100) })
						if err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
