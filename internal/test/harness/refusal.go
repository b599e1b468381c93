package harness

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// Script is one run of a Lua script on a node in a state of its own.
type Script struct {
	Source string
	Keys   []string
	Args   []any
	Before func(ctx context.Context, admin *redis.Client) error // makes the state
	// May are the keys that the script may have changed when it is refused
	// something: it has lost nothing, and does no harm.
	May []string
}

// Refused runs a script on a redis-server as a user who lacks one right, once
// for each command that its source calls. A script that is refused a command
// ends there, and what it has written stays; so it must have written nothing,
// but for what May says, and no key may be left without a TTL.
func Refused(t *testing.T, s Script) {
	t.Helper()
	t.Parallel()
	admin := Client(t, Real(t, 1, redisserver.Options{}), 0)
	o := *admin.Options()
	o.Username, o.Password = "limited", "any"
	limited := redis.NewClient(&o)
	t.Cleanup(func() { limited.Close() })
	run := func(without ...string) (before, after map[string]kept, err error) {
		t.Helper()
		ctx, rules := t.Context(), []any{"acl", "setuser", "limited", "reset", "on", "nopass", "~*", "&*", "+@all"}
		for _, command := range without {
			rules = append(rules, "-"+command)
		}
		Must(t, time.Now(), admin.FlushAll(ctx).Err())
		Must(t, time.Now(), s.Before(ctx, admin))
		Must(t, time.Now(), admin.Do(ctx, rules...).Err())
		before = everything(t, admin)
		err = limited.Eval(ctx, s.Source, s.Keys, s.Args...).Err()
		return before, everything(t, admin), err
	}
	if _, _, err := run(); err != nil && err != redis.Nil {
		t.Fatalf("with every right: %v", err)
	}
	refused := 0
	for _, command := range commandsOf(s.Source) {
		before, after, err := run(command)
		if err == nil || err == redis.Nil {
			continue // this state does not lead there
		}
		refused++
		for key, is := range after {
			if was, there := before[key]; is.left < 0 && (!there || was.left >= 0) {
				t.Errorf("without +%s: %q is left without a TTL (%v)", command, key, err)
			}
		}
		all := maps.Clone(before)
		maps.Copy(all, after)
		for key := range all {
			if before[key].value != after[key].value && !slices.Contains(s.May, key) {
				t.Errorf("without +%s: %q has changed (%v)", command, key, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no command was refused")
	}
}

var called = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)

// commandsOf is the names of the commands in a script, each once.
func commandsOf(source string) (all []string) {
	for _, match := range called.FindAllStringSubmatch(source, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kept is what a node keeps under a key.
type kept struct {
	value string        // as DUMP has it
	left  time.Duration // negative if it never expires
}

func everything(t testing.TB, admin *redis.Client) map[string]kept {
	t.Helper()
	ctx, all := t.Context(), map[string]kept{}
	keys, err := admin.Keys(ctx, "*").Result()
	Must(t, time.Now(), err)
	for _, key := range keys {
		value, err := admin.Dump(ctx, key).Result()
		if err == redis.Nil {
			continue // it has expired
		}
		Must(t, time.Now(), err)
		all[key] = kept{value, admin.PTTL(ctx, key).Val()}
	}
	return all
}
