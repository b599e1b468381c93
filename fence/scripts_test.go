package fence

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A user may lack the right to a command, which ends a script there. The guard
// may be raised then, and the data is as it was.
func TestAScriptThatIsRefusedACommandHasNotChangedTheData(t *testing.T) {
	const guard, data = "fence:{job}:job", "{job}:data"
	hour := time.Hour.Milliseconds()
	nothing := func(context.Context, *redis.Client) error { return nil }
	hash := func(ctx context.Context, admin *redis.Client) error {
		if err := admin.HSet(ctx, data, "field", "old").Err(); err != nil {
			return err
		}
		return admin.PExpire(ctx, data, time.Hour).Err()
	}
	guarded := func(ctx context.Context, admin *redis.Client) error {
		if err := hash(ctx, admin); err != nil {
			return err
		}
		return admin.Eval(ctx, guardSource+checkSource, []string{guard}, 6, hour, 1, "newest").Err()
	}
	for name, s := range map[string]harness.Script{
		"check":          {Source: guardSource + checkSource, Args: []any{7, hour, 1, "newest"}, Before: nothing},
		"check, a next":  {Source: guardSource + checkSource, Args: []any{7, hour, 1, "newest"}, Before: guarded},
		"check a reader": {Source: guardSource + checkSource, Args: []any{7, hour, 1, "read"}, Before: nothing},
		"a reader next":  {Source: guardSource + checkSource, Args: []any{7, hour, 1, "read"}, Before: guarded},
		"set":            {Source: guardSource + setSource, Args: []any{7, hour, 1, "newest", "new", "PX", hour}, Before: nothing, May: []string{guard}},
		"set, a next":    {Source: guardSource + setSource, Args: []any{7, hour, 1, "newest", "new", "PX", hour}, Before: guarded, May: []string{guard}},
		"hset":           {Source: guardSource + hsetSource, Args: []any{7, hour, 1, "newest", "field", "new"}, Before: hash, May: []string{guard}},
		"hset, a next":   {Source: guardSource + hsetSource, Args: []any{7, hour, 1, "newest", "field", "new"}, Before: guarded, May: []string{guard}},
		"del":            {Source: guardSource + delSource, Args: []any{7, hour, 1, "newest"}, Before: hash, May: []string{guard}},
		"del, a next":    {Source: guardSource + delSource, Args: []any{7, hour, 1, "newest"}, Before: guarded, May: []string{guard}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Keys = []string{guard, data}
			harness.Refused(t, s)
		})
	}
}
