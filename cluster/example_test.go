package cluster_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
)

func ExampleOpen() {
	ctx := context.Background()
	nodes, err := embedded.Start(5) // in production: redis://10.0.0.1:6379 and so on
	if err != nil {
		panic(err)
	}
	defer nodes.Close()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs()})
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)
	fmt.Println(len(c.Status()), "nodes, quorum", c.Quorum())
	// Output: 5 nodes, quorum 3
}

func ExampleOpen_badConfiguration() {
	_, err := cluster.Open(context.Background(), cluster.Config{})
	fmt.Println(errors.Is(err, cluster.ErrConfig))
	fmt.Println(err)
	// Output:
	// true
	// redlock: bad configuration: Config.URLs: no nodes; name at least one, best 3, 5 or 7 independent ones
}
