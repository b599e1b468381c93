package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

func TestRefusalClass_IsOneOfFew(t *testing.T) {
	t.Parallel()
	silent := []Answer{{Node: "a", Err: context.DeadlineExceeded}} // which is no deadline of the caller's
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{&NotAcquiredError{Class: ClassHeld, Answers: silent}, "held"},
		{&NotAcquiredError{Split: true}, "split"},
		{&NotAcquiredError{Class: tooLate.Class}, "late"},
		{&NotAcquiredError{Class: unsettled.Class}, "late"},
		{&NotAcquiredError{Class: handleOver.Class}, "handle"},
		{NotWithin(&NotAcquiredError{Class: ClassHeld, Err: context.DeadlineExceeded}, time.Second), "timeout"},
		{NotWithin(&NotAcquiredError{Class: ClassSplit, Split: true}, time.Second), "timeout"},
		{&NotAcquiredError{Err: context.DeadlineExceeded}, "timeout"},
		{&NotAcquiredError{Split: true, Err: context.Canceled}, "canceled"},
		{&nodeset.QuorumError{Nodes: []nodeset.NodeError{{Node: "a", Err: context.DeadlineExceeded}}}, "no_quorum"},
		{&LostError{Answers: silent}, "lost"},
		{fmt.Errorf("acquire: %w", nodeset.ErrClosed), "closed"},
		{configerr.Field("key", "is empty"), "config"},
		{fmt.Errorf("acquire: %w", context.Canceled), "canceled"},
		{errors.New("what else there may be"), "_OTHER"},
	} {
		if got := RefusalClass(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}
