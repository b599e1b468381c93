//go:build unix

package chaos_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/chaos"
	"github.com/venta-hq/redlock/internal/test/harness"
)

var (
	// theBackend chooses the backend when it is first needed. It says once which it is.
	theBackend = sync.OnceValues(func() (*chaos.Backend, error) {
		b, err := chooseBackend()
		if err == nil {
			fmt.Printf("chaos: %d %s\n", chaos.NodeCount, b.Name)
			chosen.Store(b)
		}
		return b, err
	})
	chosen atomic.Pointer[chaos.Backend]
)

// started is before the backend was chosen, whoever asks for it first.
var started = time.Now()

// mustBackend returns the backend. It skips the test if there is none and nobody asked for one, and if starting nodes took
// too long on a slow machine.
func mustBackend(t *testing.T) *chaos.Backend {
	t.Helper()
	b, err := theBackend()
	if errors.Is(err, chaos.ErrNoNodes) {
		if os.Getenv("REDLOCK_CHAOS_NODES") != "" || strings.Contains(os.Getenv("REDLOCK_TEST_BACKENDS"), "redis") {
			t.Fatalf("real nodes are asked for: %v", err)
		}
		t.Skip(err)
	}
	harness.Must(t, started, err)
	return b
}

// closeBackend removes what the backend has left anywhere.
func closeBackend() {
	if b := chosen.Load(); b != nil {
		b.Close()
	}
}

// chooseBackend looks what there is. The error matches chaos.ErrNoNodes if the scenarios are to be skipped.
func chooseBackend() (*chaos.Backend, error) {
	if list := os.Getenv("REDLOCK_TEST_BACKENDS"); list != "" && !strings.Contains(list, "redis") {
		return nil, fmt.Errorf("%w: REDLOCK_TEST_BACKENDS=%s", chaos.ErrNoNodes, list)
	}
	switch want := os.Getenv("REDLOCK_CHAOS_NODES"); want {
	case "docker":
		return dockerBackend()
	case "processes":
		return chaos.Processes("REDLOCK_CHAOS_NODES=" + want)
	case "":
		if os.Getenv("REDLOCK_TEST_PART") == "first" { // which is to be short
			return chaos.Processes("quicker to start than containers")
		}
		b, err := dockerBackend()
		if err != nil {
			return chaos.Processes(err.Error())
		}
		return b, nil
	default:
		return nil, fmt.Errorf("REDLOCK_CHAOS_NODES is %q: it must be docker or processes", want)
	}
}
