package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestScripts_RefusedCommandLosesNothing(t *testing.T) {
	const entry, lease, tag, deletion, count = "cache:k", "cache:k:lease", "cache:tag:t", "cache:gone:t", "cache:gone"
	keys, minute := []string{entry, lease}, time.Minute.Milliseconds()
	take := func(nonce, waiter string) harness.Script {
		return harness.Script{Source: entrySource + leaseSource, Keys: keys,
			Args: []any{nonce, minute, "0", "-", waiter, "cache:tag:", minute, "", "", "t"}}
	}
	store := func(nonce, fill string) harness.Script {
		return harness.Script{Source: entrySource + storeSource, Keys: keys,
			Args: []any{nonce, fill, "w", "1", "1", "1", "-", minute, "drops", "data", "cache:tag:", minute, "cache:gone:"}}
	}
	loading := take("one", "")
	leased := func(ctx context.Context, admin *redis.Client) error {
		return admin.Eval(ctx, loading.Source, loading.Keys, loading.Args...).Err()
	}
	stored := func(ctx context.Context, admin *redis.Client) error {
		s := store("one", "")
		return admin.Eval(ctx, s.Source, s.Keys, s.Args...).Err()
	}
	counted := func(ctx context.Context, admin *redis.Client) error {
		return admin.Set(ctx, count, "1", 0).Err() // without a TTL
	}
	tagged := func(ctx context.Context, admin *redis.Client) error {
		return errors.Join(counted(ctx, admin), leased(ctx, admin))
	}
	nothing := func(context.Context, *redis.Client) error { return nil }
	all := []string{entry, lease, tag}
	for name, c := range map[string]struct {
		script harness.Script
		before func(context.Context, *redis.Client) error
		may    []string
	}{
		"take a lease":        {take("one", ""), nothing, []string{tag}},
		"take a lease again":  {take("one", ""), leased, nil},
		"wait for a lease":    {take("two", "me"), leased, nil},
		"fill":                {store("one", "1"), leased, all},
		"set":                 {store("two", ""), leased, all},
		"renew a lease":       {harness.Script{Source: renewSource, Keys: keys[1:], Args: []any{minute, "one"}}, leased, nil},
		"give a lease back":   {harness.Script{Source: entrySource + abandonSource, Keys: keys, Args: []any{"one", "0", "-", ""}}, leased, []string{lease}},
		"mark an entry stale": {harness.Script{Source: entrySource + staleSource, Keys: keys, Args: []any{"drops"}}, stored, []string{entry}},
		"delete an entry":     {harness.Script{Source: entrySource + dropSource, Keys: keys, Args: []any{"drops"}}, stored, []string{entry}},
		"delete a tag":        {harness.Script{Source: untagSource, Keys: []string{tag, deletion, count}, Args: []any{"drops", minute}}, tagged, []string{deletion, count}},
	} {
		t.Run(name, func(t *testing.T) {
			c.script.Before, c.script.May = c.before, c.may
			harness.Refused(t, c.script)
		})
	}
}

func TestCache_DeleteTag_WorksOnAFullNode(t *testing.T) {
	t.Parallel()
	admin := harness.Client(t, harness.Real(t, 1, redisserver.Options{}), 0)
	began := time.Now()
	harness.Must(t, began, admin.Set(t.Context(), "tag", "version", 0).Err())
	harness.Must(t, began, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
	if err := admin.Eval(t.Context(), untagSource, []string{"tag", "deletion", "count"}, "drops", 1000).Err(); err != nil {
		t.Error(err)
	}
	if n := admin.Exists(t.Context(), "tag").Val(); n != 0 {
		t.Error("the tag still has its version")
	}
}
