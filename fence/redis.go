package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/errs"
)

//go:embed scripts/guard.lua
var guardSource string

//go:embed scripts/check.lua
var checkSource string

//go:embed scripts/set.lua
var setSource string

//go:embed scripts/del.lua
var delSource string

//go:embed scripts/hset.lua
var hsetSource string

//go:embed scripts/eval.lua
var evalSource string

var (
	checkScript = redis.NewScript(guardSource + checkSource)
	setScript   = redis.NewScript(guardSource + setSource)
	delScript   = redis.NewScript(guardSource + delSource)
	hsetScript  = redis.NewScript(guardSource + hsetSource)
)

// Redis writes to a Redis, or a Redis Cluster, under fencing tokens: a write
// happens only if no newer holder of its lock has written or read. Check and
// write are one script, in one round trip, and so are check and read. Its
// methods may be called concurrently.
//
// The first argument of a write is the key of the lock, the next is the key of
// the data. The newest token is kept under a key called the guard, in the hash
// slot of the data. There is one guard for each lock and hash tag, so give the
// data keys of one lock the same hash tag, such as "{order:42}:state" and
// "{order:42}:total": one write then fences all of them. Otherwise each data
// key is fenced only by writes to itself. A key without a hash tag is its own.
//
// Under a shared lock, [Redis.Get], [Redis.HGet] and [Redis.EvalRead] read: no
// writer from before changes later what they returned. Under another lock they
// check as a write does. The writing methods refuse a shared lock, with an
// error that matches cluster.ErrConfig. Reads need a Redis that takes writes,
// since guards keep their tokens.
//
// A refused write returns a *StaleError. If ctx has ended, as it does with its
// lock, nothing is sent. If ctx ends later, or the connection breaks, the write
// may have happened. Set, Del and HSet can be repeated. [Check] is limited by the
// timeouts of Client alone.
//
// The user of Client needs the rights to eval, evalsha, hget, hset, persist and
// pexpire in addition to those of the writes and reads, and to hlen for HSet.
//
// A guard must not be lost while a late writer may exist. Set maxmemory-policy
// to noeviction, or to a volatile- policy if GuardTTL is 0. A failover may lose
// the newest writes together with their guards.
type Redis struct {
	// Client is a client of the Redis that has the data. Do not use a node of
	// the locks: nodes may lose data.
	Client redis.UniversalClient

	// Prefix begins the names of guards. It must not contain { or }. Default
	// "fence:".
	Prefix string

	// GuardTTL is how long a guard is kept after the last write or read that
	// passed. Default 0: forever, at about 150 bytes for a lock key of 14 bytes
	// in Redis 7.0; the key is in the guard's name twice. A write that is later
	// than GuardTTL is not refused, so make it longer than any writer can be
	// stopped: days rather than minutes.
	GuardTTL time.Duration
}

const defaultPrefix = "fence:"

// CheckToken implements [Store]. It uses the guard of the data keys that have
// the hash tag of key, or key as their hash tag.
func (r Redis) CheckToken(ctx context.Context, key string, token int64) error {
	return r.check(ctx, Token{Key: key, Number: token})
}

// CheckReadToken implements [ReadStore], with the guard of CheckToken.
func (r Redis) CheckReadToken(ctx context.Context, key string, token int64) error {
	return r.check(ctx, Token{key, token, true})
}

func (r Redis) check(ctx context.Context, t Token) error {
	_, err := r.run(ctx, checkScript, access{token: t, beside: []string{t.Key}})
	return err
}

// Set is the command SET. ttl is 0 for none, [redis.KeepTTL] to keep that of
// key, or at least a millisecond.
func (r Redis) Set(ctx context.Context, lock, key string, value any, ttl time.Duration) error {
	args := []any{value}
	switch {
	case ttl >= time.Millisecond:
		args = append(args, "PX", ttl.Milliseconds())
	case ttl == redis.KeepTTL:
		args = append(args, "KEEPTTL")
	case ttl != 0:
		return fmt.Errorf("redlock: fence: %q: ttl %v: give 0 for none, redis.KeepTTL, or at least 1ms", lock, ttl)
	}
	_, err := r.write(ctx, setScript, lock, []string{key}, args)
	return err
}

// Del is the command DEL. It returns how many of the keys existed.
func (r Redis) Del(ctx context.Context, lock string, keys ...string) (int64, error) {
	return number(r.write(ctx, delScript, lock, keys, nil))
}

// HSet is the command HSET with alternating fields and values. It returns how
// many fields are new.
func (r Redis) HSet(ctx context.Context, lock, key string, pairs ...any) (int64, error) {
	if len(pairs) == 0 || len(pairs)%2 == 1 {
		return 0, fmt.Errorf("redlock: fence: %q: HSet of %d values: give a value for each field", lock, len(pairs))
	}
	return number(r.write(ctx, hsetScript, lock, []string{key}, pairs))
}

// Eval runs a Lua script, as the command EVAL does, unless a guard of keys refuses
// it. It needs at least one key. The script sees its own KEYS and ARGV, and must
// not begin with #!. The error is [redis.Nil] if it returns nothing. A Client
// that retries, as it does unless MaxRetries is -1, may run it twice.
func (r Redis) Eval(ctx context.Context, lock, script string, keys []string, args ...any) (any, error) {
	t, err := writerOf(ctx, lock)
	if err != nil {
		return nil, err
	}
	return r.eval(ctx, t, lock, script, keys, args)
}

// EvalRead is [Redis.Eval] for a script that only reads, and fits a shared
// lock. Nothing keeps the script from writing.
func (r Redis) EvalRead(ctx context.Context, lock, script string, keys []string, args ...any) (any, error) {
	t, err := tokenOf(ctx, lock)
	if err != nil {
		return nil, err
	}
	return r.eval(ctx, t, lock, script, keys, args)
}

func (r Redis) eval(ctx context.Context, t Token, lock, script string, keys []string, args []any) (any, error) {
	if strings.HasPrefix(script, "#!") {
		return nil, fmt.Errorf("redlock: fence: %q: Eval: a script that begins with #! cannot be run behind a guard; remove that line", lock)
	}
	before, after, _ := strings.Cut(evalSource, "-- SCRIPT\n")
	return r.access(ctx, redis.NewScript(guardSource+before+script+"\n"+after), t, lock, keys, args)
}

// Get is the command GET. The error is [redis.Nil] if key does not exist.
func (r Redis) Get(ctx context.Context, lock, key string) (string, error) {
	return text(r.EvalRead(ctx, lock, "return redis.call('GET', KEYS[1])", []string{key}))
}

// HGet is the command HGET. The error is [redis.Nil] if there is no such field.
func (r Redis) HGet(ctx context.Context, lock, key, field string) (string, error) {
	return text(r.EvalRead(ctx, lock, "return redis.call('HGET', KEYS[1], ARGV[1])", []string{key}, field))
}

// Forget removes the guards of lock for these data keys or, without any, the
// guard of CheckToken. Read "Forgetting" in the package comment first.
func (r Redis) Forget(ctx context.Context, lock string, keys ...string) error {
	if err := r.usable(lock); err != nil {
		return err
	}
	if len(keys) == 0 {
		keys = []string{lock}
	}
	for _, guard := range r.guards(lock, keys) {
		if err := r.Client.Del(ctx, guard).Err(); err != nil {
			return errs.Errorf("redlock: fence: %q: forget: %w", lock, err)
		}
	}
	return nil
}

// access is one run of a script under a lock.
type access struct {
	token  Token
	beside []string // keys whose guards are asked
	data   []string // keys for the script
	args   []any
}

func (r Redis) write(ctx context.Context, s *redis.Script, lock string, keys []string, args []any) (any, error) {
	t, err := writerOf(ctx, lock)
	if err != nil {
		return nil, err
	}
	return r.access(ctx, s, t, lock, keys, args)
}

func (r Redis) access(ctx context.Context, s *redis.Script, t Token, lock string, keys []string, args []any) (any, error) {
	if len(keys) == 0 || slices.Contains(keys, "") {
		return nil, fmt.Errorf("redlock: fence: %q: a key of the data is empty or missing; give the keys that are written or read", lock)
	}
	return r.run(ctx, s, access{t, keys, keys, args})
}

// The fields of a guard.
const (
	writerField = "newest"
	readerField = "read"
)

func (r Redis) run(ctx context.Context, s *redis.Script, a access) (any, error) {
	lock, field := a.token.Key, writerField
	if a.token.Shared {
		field = readerField
	}
	if err := r.usable(lock); err != nil {
		return nil, err
	}
	if err := valid(lock, a.token.Number); err != nil {
		return nil, err
	}
	if err := errs.Ended(ctx); err != nil {
		return nil, errs.Errorf("redlock: fence: %q: %w", lock, err)
	}
	guards := r.guards(lock, a.beside)
	args := append([]any{a.token.Number, r.GuardTTL.Milliseconds(), len(guards), field}, a.args...)
	reply, err := s.Run(ctx, r.Client, append(guards, a.data...), args...).Slice()
	if err != nil {
		return nil, errs.Errorf("redlock: fence: %q: %w", lock, err)
	}
	return a.answer(reply)
}

// answer reads the reply of a script: {0, newest, its field} or {1, what the
// command replied}.
func (a access) answer(reply []any) (any, error) {
	passed, newest := int64(-1), ""
	if len(reply) > 0 {
		passed, _ = reply[0].(int64)
	}
	switch {
	case passed == 1 && (len(reply) == 1 || reply[1] == nil):
		return nil, redis.Nil
	case passed == 1:
		return reply[1], nil
	case passed == 0 && len(reply) == 3:
		newest, _ = reply[1].(string)
	}
	n, err := strconv.ParseInt(newest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("redlock: fence: %q: the Redis replied %v to a script, which is neither a refusal nor a result", a.token.Key, reply)
	}
	return nil, &StaleError{Key: a.token.Key, Token: a.token.Number, Newest: n, Reader: reply[2] == any(readerField)}
}

func text(reply any, err error) (string, error) {
	s, _ := reply.(string)
	return s, err
}

func number(reply any, err error) (int64, error) {
	n, _ := reply.(int64)
	return n, err
}

func (r Redis) usable(lock string) error {
	var faults []error
	if r.Client == nil {
		faults = append(faults, fmt.Errorf("redlock: fence: %q: Redis.Client is nil; give a client of the Redis that has the data", lock))
	}
	if strings.ContainsAny(r.Prefix, "{}") {
		faults = append(faults, fmt.Errorf("redlock: fence: %q: Redis.Prefix %q has a { or }, which would move guards to other hash slots", lock, r.Prefix))
	}
	if r.GuardTTL != 0 && r.GuardTTL < time.Millisecond {
		faults = append(faults, fmt.Errorf("redlock: fence: %q: Redis.GuardTTL %v: give 0 to keep guards for ever, or longer than a writer can be late", lock, r.GuardTTL))
	}
	return errors.Join(faults...)
}

// guards returns the names of the guards of lock for these keys, without
// duplicates.
func (r Redis) guards(lock string, keys []string) []string {
	prefix := r.Prefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	var all []string
	for _, key := range keys {
		if guard := prefix + "{" + tagOf(key) + "}:" + plainEnd.Replace(lock); !slices.Contains(all, guard) {
			all = append(all, guard)
		}
	}
	return all
}

// plainEnd escapes "}" in a lock key: the last one in the name of a guard ends
// the hash tag, so no two pairs of a tag and a lock share a guard.
var plainEnd = strings.NewReplacer("%", "%25", "}", "%7D")

// tagOf returns the part of key that decides its slot in a Redis Cluster: what is
// between the first { and the next }, or all of key if there is nothing. (A key
// with a "}" and no hash tag has no guard in its slot; a Redis Cluster refuses
// it.)
func tagOf(key string) string {
	_, rest, open := strings.Cut(key, "{")
	if tag, _, closed := strings.Cut(rest, "}"); open && closed && tag != "" {
		return tag
	}
	return key
}
