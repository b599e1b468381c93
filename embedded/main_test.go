package embedded_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	// A pool of go-redis that could not dial looks once a second whether it can, and ends so long after it was closed.
	harness.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
