package main

import (
	"fmt"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// After an outage of all nodes, a user who knows that no lock is held can skip
// the quarantine.
func TestFound_NodesVoteAtOnceAfterAnOutageOfEverything(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Persist: true})
	operate(t, s.URLs(), 0, "run", "first", "--", "true")
	for i := range s.Len() {
		if err := s.Restart(i, false); err != nil {
			t.Fatal(err)
		}
	}
	operate(t, s.URLs(), exitNoQuorum, "run", "--no-wait", "job", "--", "true")
	p := launch(t, s.URLs(), "nodes", "--found")
	fmt.Fprintln(p.stdin, "no")
	p.exit(exitFailure)
	p.prints(`will vote without your help: .* in 1m\d+s`, `another process can acquire that lock`, `not confirmed`)
	operate(t, s.URLs(), exitNoQuorum, "run", "--no-wait", "job", "--", "true")
	p = operate(t, s.URLs(), 0, "nodes", "--found", "--yes")
	p.prints(`3 more nodes vote now`)
	operate(t, s.URLs(), 0, "run", "--no-wait", "job", "--", "true")
	operate(t, s.URLs(), 0, "nodes", "--found").prints(`All nodes vote`)

	s.Stop(2)
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	p = operate(t, s.URLs(), exitFailure, "nodes", "--found", "--yes")
	p.prints(`all nodes must be up`, names(s.URLs())[2])
	for _, args := range [][]string{{"--found", "-o", "json"}, {"--found", "--repair-fences", "lock:"}} {
		launch(t, s.URLs(), append([]string{"nodes"}, args...)...).exit(exitUsage)
	}
}
