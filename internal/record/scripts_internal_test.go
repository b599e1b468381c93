package record

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestScripts_RefusedCommandLeavesNothingDone(t *testing.T) {
	keys := []string{"{job}:record", "{job}:promise"}
	minute := time.Minute.Milliseconds()
	written := func(ctx context.Context, admin *redis.Client) error {
		return admin.Eval(ctx, writeSource, keys, "7", "1", "7", "", "half", minute).Err()
	}
	nothing := func(context.Context, *redis.Client) error { return nil }
	for name, s := range map[string]harness.Script{
		"promise":            {Source: promiseSource, Args: []any{"8", minute}, Before: written},
		"write":              {Source: writeSource, Args: []any{"8", "1", "8", "", "more", minute}, Before: written},
		"write a new one":    {Source: writeSource, Args: []any{"8", "1", "8", "", "more", minute}, Before: nothing},
		"write it once more": {Source: writeSource, Args: []any{"7", "1", "7", "", "half", minute}, Before: written},
	} {
		t.Run(name, func(t *testing.T) {
			s.Keys = keys
			harness.Refused(t, s)
		})
	}
}
