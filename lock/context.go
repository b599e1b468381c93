package lock

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Token returns the fencing token of the lock whose context ctx derives from, the
// innermost if there are several: where locks are nested, or several keys are locked
// together, use [TokenOf]. ok is false if ctx is under no lock. Pass the token to the
// storage that the work writes to, and let that refuse smaller ones.
func Token(ctx context.Context) (token int64, ok bool) {
	l, ok := keepalive.FromContext(ctx)
	if !ok {
		return 0, false
	}
	return l.Token(), true
}

// TokenOf returns the fencing token of the lock on key whose context ctx derives
// from, whether it was locked alone or with other keys, and however many locks are
// nested inside it. ok is false if ctx is under no lock
// on key. If several have that key, under different prefixes, the innermost counts.
func TokenOf(ctx context.Context, key string) (token int64, ok bool) {
	l, ok := keepalive.Under(ctx, key)
	if !ok {
		return 0, false
	}
	return l.Token(), true
}
