package fence_test

import (
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// scope is what the code blocks of docs/fencing.md take as given.
const scope = `package main

import (
	"context"
	"database/sql"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/contrib/fence/pgxfence"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lock"
)

var (
	ctx    context.Context
	locker *lock.Locker
	db     *sql.DB
	tx     pgx.Tx
	pool   *pgxpool.Pool
	fences fence.SQL
	client redis.UniversalClient
	store  fence.Store
	orders http.Handler
	mux    *http.ServeMux
	err    error
	_      = pgxfence.Check
)

func main() {}
`

func TestDocs_CodeCompiles(t *testing.T) {
	harness.CodeCompiles(t, "../../docs/fencing.md", scope)
}
