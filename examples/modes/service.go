package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"github.com/venta-hq/redlock"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// service is one process.
type service struct {
	locker *lock.Locker
	world  world
}

// handle handles an order, unless it was handled before. One process at a time
// looks at it.
func (s service) handle(ctx context.Context, order int) error {
	return s.locker.WithLock(ctx, fmt.Sprint("order:", order), func(ctx context.Context) error {
		done, err := s.world.handled(order)
		if err != nil || done {
			return err
		}
		return s.world.handle(order)
	})
}

// read reads the catalog beside other readers: both halves are of one edition.
func (s service) read(ctx context.Context) error {
	return s.locker.WithLock(ctx, "catalog", func(ctx context.Context) error {
		return s.world.readCatalog()
	}, lock.Shared())
}

// rewrite writes the next edition of the catalog, alone.
func (s service) rewrite(ctx context.Context) error {
	return s.locker.WithLock(ctx, "catalog", func(ctx context.Context) error {
		return s.world.rewriteCatalog()
	})
}

// work uses one of the places in the pool. No other process has the same meanwhile.
func (s service) work(ctx context.Context) error {
	return s.locker.WithLock(ctx, "pool", func(ctx context.Context) error {
		l, _ := lease.FromContext(ctx)
		return s.world.use(l.Slot())
	}, lock.Limit(places))
}

// transfer moves an amount between two accounts, at rates that nobody changes
// meanwhile.
func (s service) transfer(ctx context.Context, from, to, amount int) error {
	accounts := []string{fmt.Sprint("account:", from), fmt.Sprint("account:", to)}
	return s.locker.WithLocks(ctx, accounts, func(ctx context.Context) error {
		return s.world.transfer(from, to, amount)
	}, lock.SharedKeys("rates"))
}

// setRates changes the rates, beside no transfer.
func (s service) setRates(ctx context.Context) error {
	return s.locker.WithLock(ctx, "rates", func(ctx context.Context) error { return s.world.setRates() })
}

// serve does everything a few times, in another order in each process.
func serve(ctx context.Context) (err error) {
	locker, err := redlock.Open(ctx, strings.Split(os.Getenv(nodesAt), ",")...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locker.Close(ctx)) }()
	s := service{locker, world(os.Getenv(worldAt))}
	var calls []func() error
	for i := range orders {
		calls = append(calls, func() error { return s.handle(ctx, i) })
	}
	for range rounds {
		from := rand.IntN(accounts)
		to := (from + 1 + rand.IntN(accounts-1)) % accounts
		calls = append(calls,
			func() error { return s.read(ctx) }, func() error { return s.read(ctx) }, func() error { return s.rewrite(ctx) },
			func() error { return s.work(ctx) }, func() error { return s.transfer(ctx, from, to, 1+rand.IntN(9)) }, func() error { return s.setRates(ctx) })
	}
	rand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() { errs[i] = call() })
	}
	all.Wait()
	return errors.Join(errs...)
}
