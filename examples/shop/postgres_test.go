package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/venta-hq/redlock/internal/test/dbserver"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// On PostgreSQL it does what it does on SQLite, also where an earlier run left
// its tables.
func TestShop_OnPostgreSQL(t *testing.T) {
	t.Parallel()
	server, err := dbserver.PostgreSQL()
	if errors.Is(err, dbserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dsn := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", server.Port)
	for range 2 {
		play(t, harness.Embedded(t, 3), databaseAt+"="+dsn)
	}
}
