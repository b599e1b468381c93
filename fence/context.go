package fence

import (
	"context"

	"github.com/venta-hq/redlock/lease"
)

// WithToken is ctx under a token that was received from another process, such
// as with a request. Check and everything else here takes it as if ctx were
// under the lock on key itself. The innermost counts: a lock on key that is
// acquired under the result comes before it.
func WithToken(ctx context.Context, key string, token int64) context.Context {
	outer, _ := ctx.Value(receivedKey{}).(*received)
	innermost, _ := lease.FromContext(ctx)
	onKey, _ := lease.Under(ctx, key)
	return context.WithValue(ctx, receivedKey{}, &received{Token{key, token}, innermost, onKey, outer})
}

type receivedKey struct{}

// received is a token of WithToken, and the leases around it. If the innermost
// lease of a context is still the same, none was acquired under the token.
type received struct {
	Token
	innermost *lease.Lease
	onKey     *lease.Lease
	outer     *received
}

// find is the innermost token of key under which ctx is.
func find(ctx context.Context, key string) (int64, bool) {
	onKey, held := lease.Under(ctx, key)
	r, _ := ctx.Value(receivedKey{}).(*received)
	for r != nil && r.Key != key {
		r = r.outer
	}
	switch {
	case r != nil && r.onKey == onKey:
		return r.Number, true
	case held:
		return onKey.Token(), true
	}
	return 0, false
}

// innermost is the innermost token under which ctx is, of any key.
func innermost(ctx context.Context) (Token, bool) {
	l, held := lease.FromContext(ctx)
	r, _ := ctx.Value(receivedKey{}).(*received)
	switch {
	case r != nil && r.innermost == l:
		return r.Token, true
	case held:
		return Token{l.Key(), l.Token()}, true
	}
	return Token{}, false
}
