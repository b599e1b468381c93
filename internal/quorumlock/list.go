package quorumlock

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// inspectBatch is how many locks a node is asked about at once: other commands
// of this process wait for that long.
const inspectBatch = 256

// List inspects the locks whose keys begin with prefix, in the order of their
// keys. It finds each that a quorum has throughout, if a quorum of nodes can be
// asked. With fewer it returns what they reported, which may be incomplete, and
// a *cluster.QuorumError. It scans the nodes (nodeset.Node.Scan), which takes
// longer the more keys they have, and needs cluster.OperatorRights. Waiters are
// counted, not named.
func (r *Redlock) List(ctx context.Context, prefix string) ([]Inspection, error) {
	names, short := r.scan(ctx, prefix)
	if short != nil && !errors.Is(short, nodeset.ErrNoQuorum) {
		return nil, short
	}
	var found []Inspection
	for batch := range slices.Chunk(names, inspectBatch) {
		some, err := r.inspect(ctx, batch, 0)
		if err != nil {
			return nil, err
		}
		for _, i := range some {
			if short == nil {
				short = quorumOf(r.c, "list", "", i.Views)
			}
			if i.Holder.Writer != NoWriter && !i.companion(r.LockKey(i.Key)) {
				found = append(found, i)
			}
		}
	}
	return found, short
}

// scan is the keys of locks, and of some of what belongs to locks, that any node has.
func (r *Redlock) scan(ctx context.Context, prefix string) ([]string, error) {
	names, short, err := r.scanFor(ctx, r.LockKey(prefix), func(name string) string { return strings.TrimPrefix(name, r.cfg.Prefix) })
	return names, cmp.Or(err, short)
}

// WithCompanion is the keys with this prefix that have a companion of this suffix on some node, in order. The error is a
// *cluster.QuorumError if fewer nodes than a quorum could be scanned, as in List.
func (r *Redlock) WithCompanion(ctx context.Context, prefix, suffix string) ([]string, error) {
	lock := func(name string) string { // what it belongs to
		stem, _ := strings.CutSuffix(name, ":"+suffix)
		for _, lock := range []string{stem, strings.TrimSuffix(strings.TrimPrefix(stem, "{"), "}")} {
			if strings.HasPrefix(lock, r.LockKey(prefix)) && Companion(lock, suffix) == name {
				return strings.TrimPrefix(lock, r.cfg.Prefix)
			}
		}
		return ""
	}
	plain, short1, err1 := r.scanFor(ctx, "{"+r.LockKey(prefix), lock)
	tagged, short2, err2 := r.scanFor(ctx, r.LockKey(prefix), lock)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	all := append(plain, tagged...)
	slices.Sort(all)
	return slices.Compact(all), cmp.Or(short1, short2)
}

// scanFor is what keyOf makes of the names on any node that begin with prefix, without what it makes "" of. short is a
// *cluster.QuorumError if too few nodes could be scanned.
func (r *Redlock) scanFor(ctx context.Context, prefix string, keyOf func(name string) string) (all []string, short, err error) {
	var mu sync.Mutex
	names := map[string]bool{}
	views := make([]View, len(r.c.Nodes()))
	var wg sync.WaitGroup
	for i, n := range r.c.Nodes() {
		wg.Go(func() {
			err := n.Scan(ctx, prefix, func(keys []string) {
				mu.Lock()
				defer mu.Unlock()
				for _, key := range keys {
					if key = keyOf(key); key != "" {
						names[key] = true
					}
				}
			})
			views[i] = View{Node: n.Name(), Err: err}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, nil, errs.Errorf("redlock: list: %w", errs.Ended(ctx))
	}
	return slices.Sorted(maps.Keys(names)), quorumOf(r.c, "list", "", views), nil
}

// companion reports whether this is no lock, but what belongs to one whose key has a hash tag: the others do not begin with
// the prefix.
func (i Inspection) companion(lock string) bool {
	colon := strings.LastIndexByte(lock, ':')
	if colon < 0 || !tagged(lock[:colon]) || i.Holder.Writer != WriterForeign {
		return false
	}
	return slices.Contains(companions, lock[colon:])
}
