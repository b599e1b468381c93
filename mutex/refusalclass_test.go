package mutex

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/venta-hq/redlock/cluster"
)

func TestRefusalsAreOfFewClasses(t *testing.T) {
	t.Parallel()
	silent := []Answer{{Node: "a", Err: context.DeadlineExceeded}} // which is no deadline of the caller's
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{&NotAcquiredError{Reason: "held by another", Answers: silent}, "held"},
		{&NotAcquiredError{Split: true}, "split"},
		{&NotAcquiredError{Reason: tooLate}, "late"},
		{&NotAcquiredError{Reason: unsettled}, "late"},
		{&NotAcquiredError{Err: context.DeadlineExceeded}, "timeout"},
		{&NotAcquiredError{Split: true, Err: context.Canceled}, "canceled"},
		{&cluster.QuorumError{Nodes: []cluster.NodeError{{Node: "a", Err: context.DeadlineExceeded}}}, "no_quorum"},
		{&LostError{Answers: silent}, "lost"},
		{fmt.Errorf("acquire: %w", cluster.ErrClosed), "closed"},
		{fieldError("key", "is empty"), "config"},
		{fmt.Errorf("acquire: %w", context.Canceled), "canceled"},
		{errors.New("what else there may be"), "_OTHER"},
	} {
		if got := RefusalClass(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}
