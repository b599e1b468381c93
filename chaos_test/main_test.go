//go:build unix

package chaos_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// TestMain is also the main function of client processes.
func TestMain(m *testing.M) {
	chaos.RunIfClient()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		closeBackend()
		os.Exit(1)
	}()
	logging.Disable() // what go-redis says of its connections would bury what the tests say
	return harness.Run(m, closeBackend, goleak.IgnoreCurrent())
}
