package lock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lock"
)

// start starts three nodes and opens a Locker on them. A program has its nodes elsewhere, and gives their URLs.
func start(ctx context.Context, cfg lock.Config) (nodes *embedded.Nodes, locker *lock.Locker, stop func()) {
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	c, err := cluster.Open(ctx, cluster.Config{
		URLs: nodes.URLs(), NodeTimeout: time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	locker, err = lock.New(c, cfg)
	if err != nil {
		panic(err)
	}
	return nodes, locker, func() {
		locker.Close(ctx)
		c.Close(ctx)
		nodes.Close()
	}
}

func ExampleLocker_WithLock() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{})
	defer stop()

	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
		fmt.Println("alone with order 42")

		// Who asks for what he has already would wait for himself.
		err := locker.WithLock(ctx, "order:42", func(context.Context) error { return nil })
		fmt.Println("again:", errors.Is(err, lock.ErrReentrant))
		return nil
	})
	fmt.Println(err)
	// Output:
	// alone with order 42
	// again: true
	// <nil>
}

// Several keys are locked together, or none.
func ExampleLocker_WithLocks() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{})
	defer stop()

	transfer := func(ctx context.Context) error {
		for _, account := range []string{"account:7", "account:3"} {
			token, held := lock.TokenOf(ctx, account)
			fmt.Println(account, held, token > 0) // the storage of each account gets its own token
		}
		return nil
	}
	fmt.Println(locker.WithLocks(ctx, []string{"account:7", "account:3"}, transfer))

	one, err := locker.Lock(ctx, "account:7")
	if err != nil {
		panic(err)
	}
	err = locker.WithLocks(ctx, []string{"account:7", "account:3"}, transfer, lock.NoWait())
	var refused *lock.NotAcquiredError
	if errors.As(err, &refused) {
		fmt.Println("held by another:", refused.Key)
	}
	fmt.Println(one.Release(ctx))
	// Output:
	// account:7 true true
	// account:3 true true
	// <nil>
	// held by another: account:7
	// <nil>
}

// With NoWait a lock that somebody has is not waited for.
func ExampleNoWait() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{})
	defer stop()

	l, err := locker.Lock(ctx, "order:42")
	if err != nil {
		panic(err)
	}
	work := func(context.Context) error {
		fmt.Println("alone with order 42")
		return nil
	}
	err = locker.WithLock(ctx, "order:42", work, lock.NoWait())
	fmt.Println("while it is held:", errors.Is(err, lock.ErrNotAcquired))

	fmt.Println("released:", l.Release(ctx))
	fmt.Println(locker.WithLock(ctx, "order:42", work, lock.NoWait()))
	// Output:
	// while it is held: true
	// released: <nil>
	// alone with order 42
	// <nil>
}

func ExampleDo() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{})
	defer stop()

	total, err := lock.Do(ctx, locker, "order:42", func(context.Context) (int, error) { return 3 * 14, nil })
	fmt.Println(total, err)
	// Output: 42 <nil>
}

// A storage that refuses old tokens is safe from those who write late.
func ExampleToken() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{})
	defer stop()

	var newest int64 // kept by the storage
	write := func(token int64, what string) {
		if token < newest {
			fmt.Println("refused:", what)
			return
		}
		newest = token
		fmt.Println("written:", what)
	}
	var late int64
	for _, what := range []string{"first", "second"} {
		err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
			token, _ := lock.Token(ctx)
			write(token, what)
			if late == 0 {
				late = token
			}
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
	write(late, "what the first one forgot")
	// Output:
	// written: first
	// written: second
	// refused: what the first one forgot
}

// The function's context ends when the lock is lost, and its cause says why.
func ExampleLocker_WithLock_lost() {
	ctx := context.Background()
	nodes, locker, stop := start(ctx, lock.Config{RenewEvery: time.Second})
	defer stop()

	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
		for _, url := range nodes.URLs() { // somebody meddles
			o, err := redis.ParseURL(url)
			if err != nil {
				return err
			}
			c := redis.NewClient(o)
			c.FlushAll(ctx)
			c.Close()
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	var lost *lock.LostError
	if errors.As(err, &lost) {
		fmt.Printf("%s: %s\n", lost.Key, lost.Reason)
	}
	// Output: order:42: gone or taken on too many nodes
}

// Anybody can ask who has a lock. To take it away from a holder that is stuck keeps it from everybody until that holder's
// TTL is over, so that there are never two.
func ExampleLocker_Inspect() {
	ctx := context.Background()
	_, locker, stop := start(ctx, lock.Config{TTL: 4 * time.Second})
	defer stop()

	l, err := locker.Lock(ctx, "order:42", lock.Owner("billing"))
	if err != nil {
		fmt.Println(err)
	}
	seen, err := locker.Inspect(ctx, "order:42")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(seen.State, "by", seen.Holder.Name, "of a quorum of", seen.Need)

	if _, err := locker.ForceRelease(ctx, seen, "ann"); err != nil {
		fmt.Println(err)
	}
	<-l.Done() // at its next renewal
	var lost *lock.LostError
	if errors.As(l.Err(), &lost) {
		reason, _, _ := strings.Cut(lost.Reason, " (")
		fmt.Println(reason)
	}
	// Output:
	// held by billing of a quorum of 2
	// released by force by ann
}
