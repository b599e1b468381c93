package fence_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lease"
)

// lateOn is the variable that makes this binary a holder that is stopped: the
// URLs of the lock's nodes and, last, that of the data. It prints that it holds
// the lock, and writes once it can read a line: how. Then it prints what came
// of it.
const lateOn = "REDLOCK_TEST_LATE_ON"

func writeLate(urls []string) {
	ctx := context.Background()
	leases, err := openLeases(ctx, urls[:len(urls)-1])
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := leases.Acquire(ctx, lockKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("holds")
	how, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	o, err := redis.ParseURL(urls[len(urls)-1])
	if err != nil {
		fmt.Println(err)
		return
	}
	client := redis.NewClient(o)
	late := context.WithoutCancel(l.Context()) // as if it had looked at the context just before it was stopped
	if how == "fenced\n" {
		err = fence.Redis{Client: client}.Set(late, lockKey, state, "late", 0)
	} else {
		err = client.Set(late, state, "late", 0).Err()
	}
	fmt.Println("stale:", errors.Is(err, fence.ErrStale), err)
}

func openLeases(ctx context.Context, urls []string) (*lease.Leases, error) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: 250 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return lease.New(c, lease.Config{TTL: time.Second})
}
