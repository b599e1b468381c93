package cache

import (
	"context"
	"slices"
	"sync"
	"time"
)

// renewals is how many times a lease is renewed within LeaseTTL, so that one
// renewal may fail.
const renewals = 3

// renewal renews fill leases while their loads run, from newRenewal until stop.
// A lease that Delete or Set has ended stays ended.
type renewal[V any] struct {
	s    *Cache[V]
	stop context.CancelFunc // does not wait: a renewal that arrives after the end of the lease has no effect

	mu  sync.Mutex
	all map[string]fillLease[V] // by key
}

// newRenewal must be called by a goroutine that Close waits for.
func (s *Cache[V]) newRenewal(ctx context.Context) *renewal[V] {
	r := &renewal[V]{s: s, all: map[string]fillLease[V]{}}
	ctx, r.stop = context.WithCancel(ctx)
	s.wg.Go(func() {
		ticks, stop := s.ticker(s.cfg.LeaseTTL / renewals)
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.ctx.Done(): // all loads end now
				return
			case <-ticks:
				r.renew(ctx)
			}
		}
	})
	return r
}

// newTicker is time.NewTicker.
func newTicker(d time.Duration) (ticks <-chan time.Time, stop func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

func (r *renewal[V]) add(m fillLease[V]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[m.a.key] = m
}

func (r *renewal[V]) remove(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, key)
}

// renew renews every lease on the node that granted it, in pieces between which
// the node can serve other callers.
func (r *renewal[V]) renew(ctx context.Context) {
	r.mu.Lock()
	byNode := map[*node][]fillLease[V]{}
	for _, m := range r.all {
		byNode[m.l.node] = append(byNode[m.l.node], m)
	}
	r.mu.Unlock()
	var wg sync.WaitGroup
	for n, all := range byNode {
		size := maxPiece
		if n.Sharded() { // its servers each have their own keys
			size = 1
		}
		wg.Go(func() {
			for piece := range slices.Chunk(all, size) {
				keys, args := make([]string, len(piece)), make([]any, 1, 1+len(piece))
				args[0] = r.s.cfg.LeaseTTL.Milliseconds()
				for i, m := range piece {
					keys[i], args = r.s.leaseName(m.a.key), append(args, m.a.nonce)
				}
				if ctx.Err() != nil {
					return
				}
				n.run(ctx, renewScript, keys, args, 0) // if it fails, the next renewal makes up for it
			}
		})
	}
	wg.Wait()
}
