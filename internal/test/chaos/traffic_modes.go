//go:build unix

package chaos

import (
	"context"
	"errors"
	"slices"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// mode returns the options of the mode in which an attempt locks its key.
func (a attempt) mode() (opts []lock.Option) {
	if a.Reads {
		opts = append(opts, lock.Shared())
	}
	if a.Limit > 0 {
		opts = append(opts, lock.Limit(a.Limit))
	}
	return opts
}

// isShared reports whether readers share a key.
func isShared(key string) bool {
	return slices.ContainsFunc(modeKeys, func(k modeKey) bool { return k.name == key && k.limit == 0 })
}

// useMode holds a key that several can hold at once.
func (w *worker) useMode(ctx context.Context, key modeKey) {
	as := attempt{Key: key.name, Reads: w.rng.IntN(100) < key.readers, Limit: key.limit}
	if key.long {
		w.renewed(ctx, as)
	} else {
		w.briefly(ctx, as, as.Key)
	}
}

// renewed holds a key, mostly for so long that it must be renewed. Some writers become readers then.
func (w *worker) renewed(ctx context.Context, as attempt) {
	as.Way = "Lock"
	a := w.call(as)
	waiting, cancel := context.WithTimeout(ctx, w.cfg.Tempo.TTL*2)
	defer cancel()
	l, err := w.locker.Lock(waiting, a.Key, a.mode()...)
	if err != nil {
		w.finish(a, err)
		return
	}
	a.Slot = l.Slot()
	stay := func() {
		held, stop := context.WithCancel(l.Context())
		defer context.AfterFunc(ctx, stop)()
		defer stop()
		rest(held, w.upTo(w.cfg.Tempo.TTL*3/2))
	}
	w.hold(l.Context(), a, l.Token(), stay)
	if isShared(a.Key) && !a.Reads && !a.Lost && w.rng.IntN(2) == 0 {
		w.finish(a, nil)
		a = w.call(attempt{Way: "Downgrade", Key: a.Key, Reads: true})
		if err := l.Downgrade(ctx); errors.Is(err, lease.ErrLost) || err != nil && odd(err) {
			_ = l.Release(context.Background()) // err says more
			w.finish(a, err)
			return
		}
		w.hold(l.Context(), a, l.Token(), stay)
	}
	w.finish(a, l.Release(context.Background()))
}
