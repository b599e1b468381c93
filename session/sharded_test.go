package session

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestNew_RefusesARedisCluster(t *testing.T) {
	t.Parallel()
	harness.Real(t, 1, redisserver.Options{}) // skips where there are no real nodes
	many, err := redisserver.StartSharded(3, redisserver.Options{})
	must(t, err)
	t.Cleanup(many.Close)
	c, err := cluster.Open(t.Context(), cluster.Config{
		URLs: []string{many.URL()}, NodeTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	defer c.Close(context.Background())
	if _, err := New(c, Config{}); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "Redis Cluster") {
		t.Errorf("New: %v", err)
	}
}
