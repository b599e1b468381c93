package lock

import (
	"context"

	"github.com/venta-hq/redlock/lease"
)

// Token is the fencing token of the lock under which ctx was given out; of the innermost, if there are several. Pass it
// to the storage that is written to, and let that refuse what comes with a smaller one.
func Token(ctx context.Context) (token int64, ok bool) {
	l, ok := lease.FromContext(ctx)
	if !ok {
		return 0, false
	}
	return l.Token(), true
}
