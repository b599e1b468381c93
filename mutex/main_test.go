package mutex

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	logging.Disable() // it would print that nodes were stopped
	harness.Main(m)
}
