package lease

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable() // the pools of clients whose nodes are stopped complain
	goleak.VerifyTestMain(m)
}
