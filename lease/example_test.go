package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lease"
)

// process is what each process that coordinates has: a view of the nodes, and its leases.
func process(ctx context.Context, nodes *embedded.Nodes) (*lease.Leases, func()) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		panic(err)
	}
	leases, err := lease.New(c, lease.Config{RenewEvery: 250 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	return leases, func() {
		leases.Close(ctx)
		c.Close(ctx)
	}
}

// A lease is held by one process at a time until it is released.
func Example() {
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	defer nodes.Close()
	ctx := context.Background()
	here, closeHere := process(ctx, nodes)
	defer closeHere()
	there, closeThere := process(ctx, nodes)
	defer closeThere()

	first, err := here.TryAcquire(ctx, "job:reindex", lease.Owner("here"))
	fmt.Println("here:", err)

	_, err = there.TryAcquire(ctx, "job:reindex", lease.Owner("there"))
	fmt.Println("there, while it is held:", errors.Is(err, lease.ErrNotAcquired))

	fmt.Println("released:", first.Release(ctx))
	fmt.Println("the context ended:", context.Cause(first.Context()))

	second, err := there.Acquire(ctx, "job:reindex", lease.Owner("there"))
	fmt.Println("there:", err)
	fmt.Println("its token is larger:", second.Token() > first.Token())
	// Output:
	// here: <nil>
	// there, while it is held: true
	// released: <nil>
	// the context ended: redlock: released
	// there: <nil>
	// its token is larger: true
}

// The holder of a lease that is lost learns of it, and why, long before the key could have expired.
func ExampleLease_Context() {
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	defer nodes.Close()
	ctx := context.Background()
	leases, closeLeases := process(ctx, nodes)
	defer closeLeases()

	l, err := leases.Acquire(ctx, "job:reindex")
	if err != nil {
		panic(err)
	}
	for _, url := range nodes.URLs() { // somebody meddles
		o, err := redis.ParseURL(url)
		if err != nil {
			panic(err)
		}
		c := redis.NewClient(o)
		c.FlushAll(ctx)
		c.Close()
	}

	<-l.Done()
	var lost *lease.LostError
	if errors.As(context.Cause(l.Context()), &lost) {
		fmt.Printf("%s: %s\n", lost.Key, lost.Reason)
		fmt.Println("its own token:", lost.Token == l.Token())
	}
	// Output:
	// job:reindex: gone or taken on too many nodes
	// its own token: true
}
