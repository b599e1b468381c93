package fence_test

import (
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(countsIn); path != "" {
		count(path)
		return
	}
	if urls := os.Getenv(lateOn); urls != "" {
		writeLate(strings.Fields(urls))
		return
	}
	logging.Disable() // the pools of clients whose nodes are stopped complain
	harness.Main(m)
}
