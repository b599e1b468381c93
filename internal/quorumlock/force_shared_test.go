package quorumlock

import (
	"context"
	"errors"
	"testing"
)

// forcingWays are the two ways to take a key by force.
func forcingWays(red *Redlock) map[string]func(context.Context, Inspection) error {
	return map[string]func(context.Context, Inspection) error{
		"kept": func(ctx context.Context, seen Inspection) error {
			_, err := red.ForceRelease(ctx, seen, "")
			return err
		},
		"now": red.ForceReleaseNow,
	}
}

func TestForceRelease_TakesTheKeyOnlyFromReadersThatWereSeen(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, op := r.redlock(nil, Config{}), r.redlock(nil, Config{})
		warm(t, red)
		for how, force := range forcingWays(op) {
			gone := acquireEverywhere(t, red, how, Request{Shared: true})
			seen, err := op.Inspect(t.Context(), how)
			must(t, err)
			h := acquireEverywhere(t, red, how, Request{Shared: true})
			must(t, gone.Release(t.Context()))
			if err := force(t.Context(), seen); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%s: taken from a reader that was not seen: %v", how, err)
			}
			must(t, h.ExtendNow(t.Context(), h.TTL()))
			seen, err = op.Inspect(t.Context(), how)
			must(t, err)
			must(t, force(t.Context(), seen))
			if err := h.ExtendNow(t.Context(), h.TTL()); !errors.Is(err, ErrLost) {
				t.Errorf("%s: not taken from the reader that was seen: %v", how, err)
			}
		}
	})
}

func TestForceRelease_OfReadersFailsWhereOthersHaveAQuorum(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, op := r.redlock(nil, Config{}), r.redlock(nil, Config{})
		warm(t, red)
		for how, force := range forcingWays(op) {
			acquireEverywhere(t, red, how, Request{Shared: true})
			seen, err := op.Inspect(t.Context(), how)
			must(t, err)
			h := acquireEverywhere(t, red, how, Request{Shared: true})
			must(t, r.Clients[2].ZRem(t.Context(), sharedNames("lock:" + how)[4], h.Value()).Err())
			if err := force(t.Context(), seen); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%s: %v", how, err)
			}
		}
	})
}

// A key that is read by nobody, until the marker expires, may be read by somebody
// when it is taken.
func TestForceRelease_OfAKeyWithoutReadersTakesItFromNone(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red, op := r.redlock(nil, Config{}), r.redlock(nil, Config{})
		warm(t, red)
		for how, force := range forcingWays(op) {
			gone := acquireEverywhere(t, red, how, Request{Shared: true})
			for _, c := range r.Clients {
				must(t, c.ZRem(t.Context(), sharedNames("lock:" + how)[4], gone.Value()).Err())
			}
			seen, err := op.Inspect(t.Context(), how)
			must(t, err)
			if seen.Holder.Writer != WriterShared || len(seen.Readers) > 0 {
				t.Fatalf("%s: %+v", how, seen)
			}
			h := acquireEverywhere(t, red, how, Request{Shared: true})
			if err := force(t.Context(), seen); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%s: taken from a reader that has come since: %v", how, err)
			}
			must(t, h.Release(t.Context()))
		}
	})
}
