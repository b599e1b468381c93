package fence

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/lease"
)

// WithToken returns a context that carries a token received from another
// process, such as with a request. [Check] and the stores use it as if ctx were
// under the lock on key. The innermost token of a key is used: a lock on key
// that is acquired under the result takes precedence.
func WithToken(ctx context.Context, key string, token int64) context.Context {
	outer, _ := ctx.Value(receivedKey{}).(*received)
	onKey, _ := keepalive.Under(ctx, key)
	innermost, _ := lease.FromContext(ctx)
	return context.WithValue(ctx, receivedKey{}, &received{Token{key, token}, onKey, innermost, outer})
}

type receivedKey struct{}

// received is a token of WithToken and what was held around it. If a context
// below it is still under the same lease, no lock was acquired under the token.
// The lease's own token does not tell, because Downgrade changes it.
type received struct {
	Token
	onKey     *keepalive.Lease // the lease on Key, or nil
	innermost *lease.Lease
	outer     *received
}

// find returns the innermost token of key that ctx carries.
func find(ctx context.Context, key string) (int64, bool) {
	onKey, held := keepalive.Under(ctx, key)
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

// innermost returns the innermost token of any key that ctx carries.
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
