package keepalive

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	logging.Disable() // the pools of clients whose nodes are stopped complain
	harness.Main(m)
}
