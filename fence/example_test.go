package fence_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lease"
)

// A holder that was stopped past its TTL writes late, and is refused.
func Example() {
	ctx := context.Background()
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	defer nodes.Close()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)
	leases, err := lease.New(c, lease.Config{RenewEvery: 250 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	defer leases.Close(ctx)

	store := new(fence.Memory)
	first, err := leases.Acquire(ctx, "order:42")
	if err != nil {
		panic(err)
	}
	fmt.Println("first:", fence.Check(first.Context(), store, "order:42"))

	first.Release(ctx) // or it is stopped until another has the lock
	second, err := leases.Acquire(ctx, "order:42")
	if err != nil {
		panic(err)
	}
	fmt.Println("second:", fence.Check(second.Context(), store, "order:42"))
	fmt.Println("first, late, is stale:", errors.Is(fence.Check(first.Context(), store, "order:42"), fence.ErrStale))
	// Output:
	// first: <nil>
	// second: <nil>
	// first, late, is stale: true
}

// A token that was received from another process, by whatever way.
func ExampleWithToken() {
	store := new(fence.Memory)
	for _, sent := range []string{"order:42;17", "order:42;18", "order:42;17"} {
		tokens, err := fence.ParseTokens(sent)
		if err != nil {
			panic(err)
		}
		ctx := fence.WithToken(context.Background(), tokens[0].Key, tokens[0].Number)
		fmt.Println(fence.Check(ctx, store, "order:42"))
	}
	// Output:
	// <nil>
	// <nil>
	// redlock: stale fencing token of "order:42": 17, but 18 was seen; the lock has passed on, so nothing may be read or written under it
}
