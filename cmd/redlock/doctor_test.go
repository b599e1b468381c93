package main

import (
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestDoctor_FailsOnWhatCanLoseLocks(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	p := operate(t, s.URLs(), 1, "doctor")
	for _, want := range []string{"danger   each of the nodes " + strings.Join(names(s.URLs()), ", "), "fix: CONFIG SET maxmemory-policy noeviction",
		"3 dangers: each can lose locks, or does not go away by itself."} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, p.stdout)
		}
	}
}
