//go:build unix

package fence_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
)

// turns counts how often clients begin to write after they have read: their
// round trips.
type turns struct{ n atomic.Int64 }

func (c *turns) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &counted{Conn: conn, turns: c}, err
}

func (c *turns) Dial(network, addr string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, addr)
}

func (c *turns) DialTimeout(network, addr string, _ time.Duration) (net.Conn, error) {
	return c.Dial(network, addr)
}

type counted struct {
	net.Conn
	turns *turns
	read  atomic.Bool
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.Store(true)
	}
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	if c.read.Swap(false) {
		c.turns.n.Add(1)
	}
	return c.Conn.Write(b)
}

// connect opens a database with a driver that dials through c.
func (c *turns) connect(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	switch driver {
	case "pgx":
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.DialFunc = c.DialContext
		return stdlib.OpenDB(*cfg)
	case "postgres":
		connector, err := pq.NewConnector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		connector.Dialer(c)
		return sql.OpenDB(connector)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = c.DialContext
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sql.OpenDB(connector)
}

// lib/pq prepares every statement that has arguments, unless it is asked not
// to; pgx does so once.
func TestSQL_CheckToken_CostsOneRoundTrip(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		switch db.driver {
		case "sqlite":
			t.Skip("SQLite is in this process")
		case "postgres":
			expectRoundTrips(t, db, db.dsn, 2)
			expectRoundTrips(t, db, db.dsn+"&binary_parameters=yes", 1)
		default:
			expectRoundTrips(t, db, db.dsn, 1)
		}
	})
}

func expectRoundTrips(t *testing.T, db *database, dsn string, want int64) {
	t.Helper()
	var c turns
	counting := c.connect(t, db.driver, dsn)
	defer counting.Close()
	counting.SetMaxOpenConns(1)
	for i := range 3 {
		tx, err := counting.Begin()
		if err != nil {
			t.Fatal(err)
		}
		before := c.n.Load()
		if err := db.fences.CheckToken(t.Context(), tx, fmt.Sprintf("order:%d", i), 1); err != nil {
			t.Fatal(err)
		}
		if n := c.n.Load() - before; i > 0 && n != want { // the first prepares the statement
			t.Errorf("%s: %d round trips, want %d", dsn, n, want)
		}
		before = c.n.Load()
		if err := db.fences.CheckReadToken(t.Context(), tx, fmt.Sprintf("catalog:%d", i), 1); err != nil {
			t.Fatal(err)
		}
		if n := c.n.Load() - before; i > 0 && n != want {
			t.Errorf("%s: %d round trips to read, want %d", dsn, n, want)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
