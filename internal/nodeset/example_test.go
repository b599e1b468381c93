package nodeset_test

import (
	"context"
	"fmt"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// printed passes on what a node answers.
type printed chan any

func (a printed) Receive(_ *nodeset.Node, reply any, err error) {
	if err != nil {
		reply = err
	}
	a <- reply
}

// What is sent to a node is executed there in the order in which it was sent.
func ExampleNode_Run() {
	nodes, err := embedded.Start(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	ctx := context.Background()
	c, err := nodeset.Open(ctx, nodeset.Config{URLs: nodes.URLs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)

	count := nodeset.NewScript("count", `return redis.call('INCRBY', KEYS[1], ARGV[1])`)
	got := make(printed, 3)
	for i := 1; i <= 3; i++ {
		c.Nodes()[0].Run(count, []string{"counter"}, []any{i}, got)
	}
	fmt.Println(<-got, <-got, <-got)
	// Output: 1 3 6
}
