//go:build unix

package main

import (
	"os/exec"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// A process that may open only a few files still works: connections are few,
// and their number does not depend on the number of locks.
func TestDescriptors_SixtyFourAreEnough(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	exe, err := theProgram()
	if err != nil {
		t.Fatal(err)
	}
	s := harness.Real(t, 5, redisserver.Options{})
	words := []string{sh, "-c", `ulimit -n 64 && exec "$@"`, "sh", exe}
	p := launchAs(t, words, s.URLs(), "bench", "--duration", "800ms", "-c", "256")
	p.exit(0)
	p.hides("too many open files")
}
