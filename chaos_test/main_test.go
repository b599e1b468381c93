//go:build unix

package chaos_test

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/chaos"
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
	running := goleak.IgnoreCurrent()
	code = m.Run()
	closeBackend()
	if err := goleak.Find(running); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
