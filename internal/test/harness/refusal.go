package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is one run of a Lua script on a node in a given state.
type Script struct {
	Source string
	Keys   []string
	Args   []any
	Before func(ctx context.Context, admin *redis.Client) error // creates the state
	// May are the keys that the script may have changed when a command is
	// refused, because the change loses nothing and does no harm.
	May []string
}

// Refused runs a script on each kind of node, once for each command that its
// source calls, and makes the node refuse that command: on a redis-server the
// user lacks the right to it. The script ends there, and its writes remain. So
// it must have written nothing, except the keys in May, and must leave no key
// without a TTL. Refused marks t as parallel, as [Beside] does.
func Refused(t *testing.T, s Script) {
	t.Helper()
	Beside(t, 1, func(t *testing.T, nodes Set) { s.refused(t, nodes) })
}

func (s Script) refused(t *testing.T, nodes Set) {
	t.Helper()
	admin := Client(t, nodes, 0)
	if _, _, err := s.run(t, admin, "", admin, s.Source); err != nil {
		t.Fatalf("with every right: %v", err)
	}
	users := admin.Do(t.Context(), "acl", "whoami").Err() == nil
	refused := 0
	for _, command := range commandsOf(s.Source) {
		client, source := admin, without(command)+s.Source
		if users {
			client, source = limited(t, admin), s.Source
		}
		before, after, err := s.run(t, admin, command, client, source)
		if err == nil {
			continue // in this state the script does not call the command
		}
		refused++
		all := maps.Clone(before)
		maps.Copy(all, after)
		for key := range all {
			was, there := before[key]
			is := after[key]
			if is.left < 0 && (!there || was.left >= 0) {
				t.Errorf("without +%s: %q is left without a TTL (%v)", command, key, err)
			}
			if is.value != was.value && !slices.Contains(s.May, key) {
				t.Errorf("without +%s: %q was %q, is %q (%v)", command, key, was.value, is.value, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no command was refused")
	}
}

// run runs source as the user of client, who has no right to command unless
// client is admin, and returns the node's data before and after.
func (s Script) run(t *testing.T, admin *redis.Client, command string, client *redis.Client, source string) (before, after map[string]kept, err error) {
	t.Helper()
	Must(t, time.Now(), admin.FlushAll(t.Context()).Err())
	Must(t, time.Now(), s.Before(t.Context(), admin))
	if client != admin {
		rules := []any{"acl", "setuser", "limited", "reset", "on", "nopass", "~*", "&*", "+@all", "-" + command}
		Must(t, time.Now(), admin.Do(t.Context(), rules...).Err())
	}
	before = everything(t, admin)
	err = client.Eval(t.Context(), source, s.Keys, s.Args...).Err()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return before, everything(t, admin), err
}

// limited returns a client of the user with limited rights.
func limited(t *testing.T, admin *redis.Client) *redis.Client {
	o := *admin.Options()
	o.Username, o.Password = "limited", "any"
	c := redis.NewClient(&o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// without returns Lua code that, before a script, makes one command fail. It is
// for nodes without users.
func without(command string) string {
	return fmt.Sprintf(`
local redis = setmetatable({
  call = function(name, ...)
    if name == %q then error('NOPERM no right to it') end
    return redis.call(name, ...)
  end,
}, {__index = redis})
`, command)
}

var called = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)

// commandsOf returns the names of the commands in a script, each once.
func commandsOf(source string) (all []string) {
	for _, match := range called.FindAllStringSubmatch(source, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// kept is the data that a node has under a key.
type kept struct {
	value string
	left  time.Duration // negative if it never expires
}

// gone is the TTL that go-redis returns for a missing key.
const gone = -2 * time.Nanosecond

func everything(t testing.TB, admin *redis.Client) map[string]kept {
	t.Helper()
	ctx, all := t.Context(), map[string]kept{}
	keys, err := admin.Keys(ctx, "*").Result()
	Must(t, time.Now(), err)
	for _, key := range keys {
		var value any
		switch kind := admin.Type(ctx, key).Val(); kind {
		case "none": // it has expired
		case "string":
			value, err = admin.Get(ctx, key).Result()
		case "hash":
			value, err = admin.HGetAll(ctx, key).Result()
		case "zset":
			value, err = admin.ZRangeWithScores(ctx, key, 0, -1).Result()
		default:
			t.Fatalf("%q is a %s", key, kind)
		}
		left := admin.PTTL(ctx, key).Val()
		if left == gone {
			continue // the key has expired in the meantime
		}
		Must(t, time.Now(), err)
		all[key] = kept{fmt.Sprint(value), left}
	}
	return all
}
