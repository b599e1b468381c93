package lock

import (
	"context"
	"errors"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Nobody holds the key: the class is that of a call that came too late.
func TestRefusal_OfAnEndedContextIsLate(t *testing.T) {
	k := process(t, harness.Embedded(t, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.Lock(ctx, "k")
	var refused *NotAcquiredError
	if !errors.As(err, &refused) || refused.Class != "late" || !errors.Is(err, context.Canceled) {
		t.Errorf("%#v: %v", refused, err)
	}
}
