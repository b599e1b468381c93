package lock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestOpen_CloseClosesTheNodesToo(t *testing.T) {
	nodes := harness.Embedded(t, 1)
	began := time.Now()
	k, err := Open(t.Context(), nodes.URLs()...)
	harness.Must(t, began, err)
	harness.Must(t, began, k.WithLock(t.Context(), "k", func(context.Context) error { return nil }))
	if err := k.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.owned.Close(t.Context()); err != nil || !errors.Is(k.c.Err(), cluster.ErrClosed) {
		t.Errorf("the nodes are not closed: %v, %v", err, k.c.Err())
	}
}

func TestOpen_FailsWhereAClusterDoes(t *testing.T) {
	if _, err := Open(t.Context()); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("without URLs: %v", err)
	}
}
