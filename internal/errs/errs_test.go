package errs

import (
	"context"
	"errors"
	"testing"
)

var errClosed = errors.New("redlock: closed")

func TestErrorf_KeepsOnePrefix(t *testing.T) {
	for _, err := range []error{
		Errorf("redlock: acquire %q: %w", "redlock: key", errClosed),
		Errorf("redlock: acquire %q: %w", "redlock: key", Errorf("redlock: closed: %w", errClosed)),
	} {
		want := `redlock: acquire "redlock: key": closed`
		if got := err.Error(); got != want && got != want+": closed" || !errors.Is(err, errClosed) {
			t.Errorf("%q, and it is closed: %t", got, errors.Is(err, errClosed))
		}
	}
	if err := Errorf("%w: %w", errClosed, errClosed); err.Error() != "redlock: closed: closed" || !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if err := Errorf("redlock: %w", context.Canceled); err.Error() != "redlock: context canceled" || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEnded_KeepsTheCause(t *testing.T) {
	if err := Ended(t.Context()); err != nil {
		t.Errorf("of a context that has not ended: %v", err)
	}
	plain, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ended(plain); err != context.Canceled {
		t.Errorf("without a cause: %v", err)
	}
	ctx, cause := context.WithCancelCause(t.Context())
	cause(errClosed)
	err := Ended(ctx)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, errClosed) || err.Error() != "context canceled: closed" {
		t.Errorf("with a cause: %v", err)
	}
}
