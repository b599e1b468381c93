package nodeset

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/acl"
	"github.com/venta-hq/redlock/internal/errs"
)

// scanCount is how many keys a server looks at in one step of a scan: it serves nobody else meanwhile.
const scanCount = 1000

// Scan calls found with the names of all keys that begin with prefix, a few at
// a time and some of them more than once. A key that exists during the whole
// scan is found; a key that is created or deleted in the meantime may be. It
// asks on a connection beside the stream, in steps that each take a server a
// moment and at most NodeTimeout, and ends between two of them with ctx.
func (n *Node) Scan(ctx context.Context, prefix string, found func(keys []string)) error {
	if d := n.down.Load(); d != nil {
		return n.refusal(d)
	}
	if !n.c.begin() {
		return ErrClosed
	}
	defer n.c.end()
	pattern := acl.EscapeGlob(prefix) + "*"
	var mu sync.Mutex
	scan := func(ctx context.Context, server redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := server.Scan(context.WithoutCancel(ctx), cursor, pattern, scanCount).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			found(keys)
			mu.Unlock()
			if cursor = next; cursor == 0 {
				return nil
			}
			if err := errors.Join(n.c.Err(), errs.Ended(ctx)); err != nil {
				return err
			}
		}
	}
	var err error
	if many, ok := n.client.(*redis.ClusterClient); ok {
		err = many.ForEachMaster(ctx, func(ctx context.Context, server *redis.Client) error { return scan(ctx, server) })
	} else {
		err = scan(ctx, n.client)
	}
	if ctx.Err() == nil && n.c.Err() == nil && lost(err) {
		n.trip(err)
	}
	return err
}
