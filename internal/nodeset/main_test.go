package nodeset

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are stopped all the time here
	harness.Main(m)
}
