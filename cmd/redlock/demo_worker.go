package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// worker stands for a process: it has its own connections and its own Locker.
type worker struct {
	name   string
	m      *demo
	c      *cluster.Cluster
	locker *lock.Locker

	mu       sync.Mutex
	took     []time.Duration // to acquire the lock
	troubles []error         // unexpected errors
}

func newWorker(ctx context.Context, name string, m *demo) (*worker, error) {
	c, err := cluster.Open(ctx, m.config())
	if err != nil {
		return nil, err
	}
	locker, err := lock.New(c, lock.Config{Prefix: demoPrefix, TTL: m.ttl, Owner: "demo worker " + name, FenceRetention: time.Hour})
	if err != nil {
		_ = c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return &worker{name: name, m: m, c: c, locker: locker}, nil
}

func (w *worker) close(ctx context.Context) {
	if err := errors.Join(w.locker.Close(ctx), w.c.Close(ctx)); err != nil {
		w.note(func() { w.troubles = append(w.troubles, err) })
	}
}

func (w *worker) note(what func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what()
}

// retryAfter spaces attempts that fail.
const retryAfter = 20 * time.Millisecond

// loop works on one order after another.
func (w *worker) loop(ctx context.Context) {
	for ctx.Err() == nil {
		asked := time.Now()
		err := w.locker.WithLock(ctx, demoKey, func(ctx context.Context) error {
			took := time.Since(asked)
			w.note(func() { w.took = append(w.took, took) })
			return w.order(ctx)
		})
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, lock.ErrLost): // losses are counted by the Locker
		default:
			w.note(func() { w.troubles = append(w.troubles, err) })
			time.Sleep(retryAfter)
		}
	}
}

// order works on the next order, under the lock.
func (w *worker) order(ctx context.Context) error {
	token, _ := lock.Token(ctx)
	defer w.m.gauge.enter(ctx, w.name, token)()
	n, err := w.m.store.next(token)
	if err != nil {
		return err
	}
	select {
	case <-time.After(2 * time.Millisecond): // the work
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return w.m.store.finish(token, n, w.name)
}
