//go:build unix

package main

import (
	"testing"
)

func TestLeader_TooFewNodesAreNotTakenForNoLeader(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	leader := launch(t, s.URLs(), "leader", "scheduler")
	leader.exit(3)
	s.Stop(0)
	s.Stop(1)
	leader = launch(t, s.URLs(), "leader", "scheduler")
	leader.exit(69)
}
