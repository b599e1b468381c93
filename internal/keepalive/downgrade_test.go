package keepalive

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/record"
)

// A release looks what the lease is, and a Downgrade makes it a reader's, at one
// moment: what looked before must look again.
func TestDowngrade_AReleaseBesideItFreesTheKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		if !s.beginReading(l) {
			t.Fatal("it is no reader")
		}
		if was := s.leave(l.t, l, ErrReleased); was != reading {
			t.Errorf("what it was is state %d", was)
		}
		must(t, l.Release(t.Context()))
		if err := l.Err(); !errors.Is(err, ErrReleased) {
			t.Errorf("the lease: %v", err)
		}
		must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context()))
	})
}

func TestDowngrade_ADetachBesideItReleasesTheKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		err := l.finish(t.Context(), "detach", ErrDetached, func(ctx context.Context) error {
			l.released.Store(false) // the downgrade looked before
			if !s.beginReading(l) {
				t.Fatal("it is no reader")
			}
			l.released.Store(true)
			handle, err := l.handOut(ctx)
			if handle != "" {
				t.Errorf("handle %q", handle)
			}
			return err
		})
		if !errors.Is(err, configerr.Err) || !errors.Is(l.Err(), ErrReleased) {
			t.Errorf("detached: %v; the lease: %v", err, l.Err())
		}
		settled()
		must(t, acquireAtOnce(t, other, "job", Request{}).Release(t.Context()))
	})
}

func TestDowngrade_FailsOnceCloseHasBegun(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		s.Cancel(ErrClosed)
		if s.beginReading(l) {
			t.Error("a reader is taken in")
		}
		if err := l.Downgrade(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("downgraded: %v", err)
		}
	})
}

func TestDowngrade_OfALeaseWhoseReleaseWaitsForItsWork(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		l.released.Store(true)
		if err := l.Downgrade(t.Context()); !errors.Is(err, ErrReleased) || errors.Is(err, configerr.Err) {
			t.Errorf("downgraded: %v", err)
		}
		l.released.Store(false)
	})
}

// Of two calls at once, one finds that the other was first.
func TestDowngrade_TheSecondOfTwoAtOnceFindsAReader(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		if !s.beginReading(l) || s.beginReading(l) {
			t.Fatal("both are the first")
		}
		if err := l.notDowngraded(); !errors.Is(err, configerr.Err) || !strings.Contains(err.Error(), "shared already") {
			t.Error(err)
		}
		must(t, l.Release(t.Context()))
	})
}

// A checkpoint that began before it is the holder's, and those that come later read
// it as such.
func TestDowngrade_ACheckpointThatIsUnderWayIsTheHolders(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		l := acquireAtOnce(t, s, "job", Request{TokenBlock: 64})
		token := l.Token()
		must(t, l.Downgrade(t.Context()))
		if l.Token() == token {
			t.Fatal("the reader has the token of the holder")
		}
		must(t, l.record(t.Context(), token, record.Record{Data: []byte("half")}))
		if info, ok, err := s.CheckpointInfo(t.Context(), "job"); !ok || err != nil || info.Token != token {
			t.Errorf("%+v, %t, %v; the holder had %d", info, ok, err, token)
		}
		must(t, l.Release(t.Context()))
	})
}
