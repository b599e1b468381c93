package embedded_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/embedded"
)

// Three nodes, one of which crashes and forgets a lock that it had granted.
func Example() {
	nodes, err := embedded.Start(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()

	// A key on every node, as a lock would set it.
	ctx := context.Background()
	clients := make([]*redis.Client, nodes.Len())
	for i, url := range nodes.URLs() {
		opts, err := redis.ParseURL(url)
		if err != nil {
			fmt.Println(err)
			return
		}
		clients[i] = redis.NewClient(opts)
		defer clients[i].Close()
		clients[i].SetNX(ctx, "lock:order:42", "me", 30*time.Second)
	}

	if err := nodes.Restart(1, true); err != nil {
		fmt.Println(err)
		return
	}

	for i, c := range clients {
		taken, err := c.SetNX(ctx, "lock:order:42", "somebody else", 30*time.Second).Result()
		fmt.Printf("node %d grants the lock again: %t, error: %v\n", i, taken, err)
	}
	// Output:
	// node 0 grants the lock again: false, error: <nil>
	// node 1 grants the lock again: true, error: <nil>
	// node 2 grants the lock again: false, error: <nil>
}

// A frozen node takes commands and executes them when it goes on.
func ExampleNodes_Pause() {
	nodes, err := embedded.Start(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	opts, err := redis.ParseURL(nodes.URLs()[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	c := redis.NewClient(opts)
	defer c.Close()

	ctx := context.Background()
	nodes.Pause(0)
	answered := make(chan string)
	go func() { answered <- c.Set(ctx, "key", "value", 0).Val() }()
	select {
	case <-answered:
		fmt.Println("a paused node answered")
	case <-time.After(20 * time.Millisecond):
		fmt.Println("no answer")
	}
	nodes.Resume(0)
	fmt.Println(<-answered)
	// Output:
	// no answer
	// OK
}
