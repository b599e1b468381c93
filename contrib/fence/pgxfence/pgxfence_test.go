//go:build unix

package pgxfence_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/venta-hq/redlock/contrib/fence/pgxfence"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/dbserver"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

var fences = fence.SQL{Dialect: fence.PostgreSQL}

// open starts a server with the table of fences and one of data.
func open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	s, err := dbserver.PostgreSQL()
	if errors.Is(err, dbserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	pool, err := pgxpool.New(t.Context(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&pool_max_conns=64", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func exec(t *testing.T, pool *pgxpool.Pool, text string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestCheckToken(t *testing.T) {
	pool := open(t)
	if err := pgxfence.CheckToken(t.Context(), fences, pool, "a", 1); err == nil || !strings.Contains(err.Error(), "CREATE TABLE") {
		t.Errorf("no table: %v", err)
	}
	exec(t, pool, fence.Schema(fence.PostgreSQL))
	exec(t, pool, "CREATE TABLE orders (writer bigint)")
	exec(t, pool, "INSERT INTO orders VALUES (0)")
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		ctx    context.Context
		token  int64
		newest int64 // if token is stale
	}{
		{t.Context(), 4, 0}, {t.Context(), 4, 0}, {ended, 3, 4}, {ended, fence.MaxToken - 1, 0}, {t.Context(), 5, fence.MaxToken - 1},
	} {
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			return pgxfence.CheckToken(tt.ctx, fences, tx, "a\x00\xff", tt.token)
		})
		var stale *fence.StaleError
		if errors.As(err, &stale); tt.newest == 0 && err != nil || tt.newest != 0 && (stale == nil || stale.Newest != tt.newest) {
			t.Errorf("token %d: %v", tt.token, err)
		}
	}
	if err := pgxfence.Check(t.Context(), fences, pool, "a"); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("under no lock: %v", err)
	}
	testWriters(t, pool)
}

// testWriters has 64 writers write in any order.
func testWriters(t *testing.T, pool *pgxpool.Pool) {
	const writers = 64
	var all sync.WaitGroup
	for _, i := range rand.Perm(writers) {
		all.Go(func() {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				if err := pgxfence.CheckToken(t.Context(), fences, tx, "writers", int64(i+1)); err != nil {
					return err
				}
				_, err := tx.Exec(t.Context(), "UPDATE orders SET writer = $1", i+1)
				return err
			})
			if err != nil && !errors.Is(err, fence.ErrStale) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var w int
	if err := pool.QueryRow(t.Context(), "SELECT writer FROM orders").Scan(&w); err != nil || w != writers {
		t.Errorf("the newest of %d writers is overwritten by %d: %v", writers, w, err)
	}
}
