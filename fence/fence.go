package fence

import (
	"context"
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/internal/configerr"
)

// ErrStale is matched by every error of a holder whose lock has passed on: a
// newer holder of its key was seen. A writer whose lease was downgraded is
// refused with it, too, once a reader was seen.
var ErrStale = errors.New("redlock: stale fencing token")

// ErrNoToken is matched by the error of a check whose context is not under a
// lock on the key.
var ErrNoToken = errors.New("redlock: no fencing token")

// MaxToken is above every fencing token.
const MaxToken = 1 << 53

// StaleError reports that a newer holder of Key was seen. It matches
// [ErrStale].
type StaleError struct {
	Key    string
	Token  int64 // that was checked
	Newest int64 // that was seen before
	Reader bool  // Newest is a reader's, which may have the Token of the writer before it, or be that writer after Downgrade
}

func (e *StaleError) Error() string {
	by, what := "", "read or written"
	if e.Reader { // which refuses writers alone
		by, what = " of a reader", "written"
	}
	return fmt.Sprintf("redlock: stale fencing token of %q: %d, but %d%s was seen; the lock has passed on%s, so nothing may be %s under it",
		e.Key, e.Token, e.Newest, by, orDowngraded(e.Reader), what)
}

// orDowngraded says what else than a newer holder can have refused a token: the
// reader may be the same holder, after Downgrade.
func orDowngraded(reader bool) string {
	if reader {
		return ", or it was downgraded"
	}
	return ""
}

// Is reports whether target is [ErrStale].
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// Store keeps the newest token seen of each key. Its methods may be called
// concurrently. [Check] passes a context that does not end, so a Store limits by
// itself how long it takes.
type Store interface {
	// CheckToken returns a *StaleError if a newer token of key was seen.
	// Otherwise it keeps token as the newest and returns nil; an equal token,
	// which is the same holder's, passes too. Comparing and keeping are one
	// atomic step. A refused check changes no token.
	CheckToken(ctx context.Context, key string, token int64) error
}

// ReadStore is a [Store] that also knows readers, the holders of lock.Shared.
// It keeps a second number for each key: the newest token of a reader. Its
// CheckToken also refuses a token that is not above that number, with the
// StaleError's Reader set.
type ReadStore interface {
	Store

	// CheckReadToken returns a *StaleError if CheckToken has kept a newer token
	// of key. Otherwise it keeps token as the newest of a reader, unless a
	// reader's token that is newer was seen, and returns nil: readers do not
	// refuse each other. Comparing and keeping are one atomic step. A refused
	// check changes no token.
	CheckReadToken(ctx context.Context, key string, token int64) error
}

// Check calls CheckToken with the token of the lock on key that ctx is under.
// Like the key of a lock, key is without Config.Prefix. Check may be called
// after ctx has ended with its lock: it then returns a [*StaleError], or nil if
// no newer holder was seen. The error matches [ErrNoToken] if ctx is under no
// lock on key, and cluster.ErrConfig if that lock is shared: a reader must not
// write, and calls [CheckRead].
func Check(ctx context.Context, s Store, key string) error {
	t, err := writerOf(ctx, key)
	if err != nil {
		return err
	}
	return s.CheckToken(context.WithoutCancel(ctx), t.Key, t.Number)
}

// CheckRead is [Check] for a function that only reads. It returns a
// [*StaleError] if a writer was seen that is newer than the lock on key that
// ctx is under. If it returns nil, no older writer passes from then on. Call it
// before the first read.
//
// The lock is one of lock.Shared, or a lease after its Downgrade. Under any
// other lock nobody reads beside the holder, and CheckRead does what Check
// does; Check passes after it.
func CheckRead(ctx context.Context, s ReadStore, key string) error {
	t, err := tokenOf(ctx, key)
	if err != nil {
		return err
	}
	return t.checkIn(context.WithoutCancel(ctx), s)
}

// tokenOf returns the token of the lock on key, with the key that stores know.
func tokenOf(ctx context.Context, key string) (Token, error) {
	t, ok := find(ctx, key)
	if !ok {
		return Token{}, fmt.Errorf("%w: the context is under no lock on %q; pass on the one that lock.WithLock or a lease gives", ErrNoToken, key)
	}
	return t, nil
}

// writerOf is tokenOf for a holder that writes.
func writerOf(ctx context.Context, key string) (Token, error) {
	t, err := tokenOf(ctx, key)
	if err == nil && t.Shared {
		err = configerr.Field("fence", "the lock on %q is shared, and a reader must not write; "+
			"check what it reads with CheckRead, or lock the key without Shared to write", key)
	}
	return t, err
}

// valid checks what a caller gave by hand.
func valid(key string, token int64) error {
	switch {
	case key == "":
		return errors.New("redlock: fence: key is empty; give the key of the lock")
	case token <= 0 || token >= MaxToken:
		return fmt.Errorf("redlock: fence: token %d of %q is out of range; a token is above 0 and below 2^53", token, key)
	}
	return nil
}
