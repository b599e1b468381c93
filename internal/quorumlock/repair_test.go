package quorumlock

import (
	"errors"
	"testing"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// A right that is missing is not an outage.
func TestDownOnly_IsOfNodesThatAreDown(t *testing.T) {
	down := nodeset.NodeError{Node: "a", Err: nodeset.ErrNodeDown}
	refuses := nodeset.NodeError{Node: "b", Err: errors.New("NOPERM")}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&nodeset.QuorumError{Nodes: []nodeset.NodeError{down, down}}, true},
		{&nodeset.QuorumError{Nodes: []nodeset.NodeError{down, refuses}}, false},
		{errors.New("other"), false},
	} {
		if got := downOnly(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}
