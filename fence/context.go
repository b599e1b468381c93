package fence

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/lease"
)

// WithToken returns a context that carries a token received from another
// process, such as with a request. [Check] and the stores use it as if ctx were
// under the lock on key. The innermost token of a key is used: a lock on key
// that is acquired under the result takes precedence. The token is that of a
// lock that is not shared; [WithReadToken] is for one that is.
func WithToken(ctx context.Context, key string, token int64) context.Context {
	return with(ctx, Token{Key: key, Number: token})
}

// WithReadToken is [WithToken] for the token of a shared lock. [CheckRead] uses
// it, and [Check] refuses it.
func WithReadToken(ctx context.Context, key string, token int64) context.Context {
	return with(ctx, Token{key, token, true})
}

// with puts tokens that arrived together into a context.
func with(ctx context.Context, tokens ...Token) context.Context {
	r, _ := ctx.Value(receivedKey{}).(*received)
	innermost, _ := lease.FromContext(ctx)
	for i, t := range tokens {
		r = &received{t, holding(ctx, t.Key), innermost, r, i > 0}
	}
	return context.WithValue(ctx, receivedKey{}, r)
}

type receivedKey struct{}

// received is a token of [with] and what was held around it. If a context
// below it is still under the same lease, no lock was acquired under the token.
// The lease's own token does not tell, because Downgrade changes it.
type received struct {
	Token
	onKey     *keepalive.Lease // the lease on Key, or nil
	innermost *lease.Lease
	outer     *received
	joins     bool // it arrived together with outer
}

// find returns the innermost token of key that ctx carries, with the key that
// stores know.
func find(ctx context.Context, key string) (Token, bool) {
	onKey, held := keepalive.Under(ctx, key)
	r, _ := ctx.Value(receivedKey{}).(*received)
	slots := !held || onKey.Slot() >= 0
	for r != nil && r.Key != key && !(slots && isOf(r.Key, key)) {
		r = r.outer
	}
	switch {
	case r != nil && r.onKey == holding(ctx, r.Key):
		return r.Token, true
	case held:
		return tokenUnder(onKey), true
	}
	return Token{}, false
}

// tokenUnder is the token of a lease, with the key that stores know. Its number
// is read before its mode: Downgrade makes the holder a reader first, and then
// changes the number, so a reader's number is never taken for a writer's.
func tokenUnder(l *keepalive.Lease) Token {
	number := l.Token()
	return Token{slotted(l.Key(), l.Slot()), number, l.Shared()}
}

// slotted is the key that stores know. The holders of a key with a limit are
// right at the same time, so each slot is a key of its own. slot is -1 for a lock
// without.
func slotted(key string, slot int) string {
	if slot < 0 {
		return key
	}
	return key + "#" + strconv.Itoa(slot)
}

// holding returns the lease on key, of which the caller may have named a slot, or
// nil.
func holding(ctx context.Context, key string) *keepalive.Lease {
	if l, held := keepalive.Under(ctx, key); held {
		return l
	}
	if i := strings.LastIndexByte(key, '#'); i > 0 && isOf(key, key[:i]) {
		if l, held := keepalive.Under(ctx, key[:i]); held && l.Slot() >= 0 {
			return l
		}
	}
	return nil
}

// isOf reports whether stored is key, or a slot of it.
func isOf(stored, key string) bool {
	slot, ok := strings.CutPrefix(stored, key+"#")
	n, err := strconv.Atoi(slot)
	return stored == key || ok && err == nil && n >= 0 && slotted(key, n) == stored
}

// innermost returns the tokens of the innermost lock that ctx carries: of all
// keys that were locked in one call, or arrived with one request. A request that
// writes under several locks, some of them shared, needs those of both.
func innermost(ctx context.Context) (tokens []Token) {
	l, _ := lease.FromContext(ctx)
	r, _ := ctx.Value(receivedKey{}).(*received)
	if r == nil || r.innermost != l {
		for _, l := range keepalive.Together(ctx) {
			tokens = append(tokens, tokenUnder(l))
		}
		return tokens
	}
	for more := true; more; r = r.outer {
		tokens, more = append(tokens, r.Token), r.joins
	}
	slices.Reverse(tokens)
	return tokens
}
