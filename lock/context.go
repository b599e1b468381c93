package lock

import (
	"context"

	"github.com/venta-hq/redlock/lease"
)

// Token is the fencing token of the lock under which ctx was given out; of the innermost, if there are several: where locks
// are nested, use [TokenOf]. Pass it to the storage that is written to, and let that refuse what comes with a smaller one.
func Token(ctx context.Context) (token int64, ok bool) {
	l, ok := lease.FromContext(ctx)
	if !ok {
		return 0, false
	}
	return l.Token(), true
}

// TokenOf is the fencing token of the lock on key under which ctx is, however many locks are nested inside it. ok is false
// if ctx is not under a lock on key. Of several on the same key, under different prefixes, it is the innermost's.
func TokenOf(ctx context.Context, key string) (token int64, ok bool) {
	l, ok := lease.Under(ctx, key)
	if !ok {
		return 0, false
	}
	return l.Token(), true
}
