//go:build unix && !race

package fence_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/chaos"
)

// guardedTable is a table of versions in PostgreSQL that fence.SQL guards.
type guardedTable struct{ *database }

func (g guardedTable) Access(key string, token int64, write bool, decided func(accepted bool)) (version int64, err error) {
	ctx := context.Background()
	tx, err := g.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	err = g.fences.CheckToken(ctx, tx, key, token)
	if err != nil && !errors.Is(err, fence.ErrStale) {
		return 0, err
	}
	decided(err == nil) // the row of the key's token is locked until the transaction ends
	if err != nil {
		return 0, nil
	}
	n := 0
	if write {
		n = 1
	}
	err = tx.QueryRowContext(ctx, fmt.Sprintf("INSERT INTO %s_versions AS v (key, version) VALUES ($1, $2)"+
		" ON CONFLICT (key) DO UPDATE SET version = v.version + $2 RETURNING version", g.data), key, n).Scan(&version)
	if err != nil {
		return 0, err
	}
	return version, tx.Commit()
}

// Clients are killed, and stopped for longer than their locks last, while nodes
// freeze. The table lets in no write that is late, and loses no update. The
// race detector would make clients miss their time-outs.
func TestChaos_ATableInPostgreSQLIsGuarded(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	backend, err := chaos.Processes("one row is played")
	if errors.Is(err, chaos.ErrNoNodes) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	dsn := postgresDSN(t)
	sc := chaos.Scenario{
		Name:   "clients are stopped, and write to PostgreSQL",
		Tempo:  chaos.Tempo{TTL: time.Second, MaxTTL: 2 * time.Second, NodeTimeout: 150 * time.Millisecond},
		Length: 5 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, tempo chaos.Tempo) chaos.Fault {
			switch r.IntN(4) {
			case 0:
				return chaos.Fault{Kind: chaos.Kill, Client: r.IntN(chaos.ClientCount), Lasts: chaos.UpTo(r, tempo.TTL)}
			case 1:
				return chaos.Fault{Kind: chaos.Freeze, Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: chaos.UpTo(r, tempo.TTL)}
			}
			return chaos.Fault{Kind: chaos.Stop, Client: r.IntN(chaos.ClientCount), Lasts: chaos.Between(r, tempo.TTL*5/4, tempo.TTL*2)}
		}),
		Storage: func() (chaos.Storage, error) {
			db := open(t, "pgx", dsn, fence.PostgreSQL)
			_, err := db.Exec("CREATE TABLE " + db.data + "_versions (key text PRIMARY KEY, version bigint NOT NULL)")
			return guardedTable{db}, err
		},
	}
	sc.Run(t, backend, rand.Uint64N(1<<32), chaos.NewTable([]chaos.Scenario{sc}))
}
