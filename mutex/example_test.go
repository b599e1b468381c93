package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/mutex"
)

// start runs three nodes in this process and connects to them.
func start() (nodes *embedded.Nodes, c *cluster.Cluster, stop func()) {
	nodes, err := embedded.Start(3)
	if err != nil {
		log.Fatal(err)
	}
	c = connect(nodes)
	return nodes, c, func() {
		c.Close(context.Background())
		nodes.Close()
	}
}

// connect makes what would be another process.
func connect(nodes *embedded.Nodes) *cluster.Cluster {
	c, err := cluster.Open(context.Background(), cluster.Config{URLs: nodes.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A lock worked by hand: who holds it watches Until.
func Example() {
	ctx := context.Background()
	_, c, stop := start()
	defer stop()

	m, err := mutex.New(c, "order:42", mutex.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("held:", time.Now().Before(m.Until()))
	first := m.Token() // give it to the storage that is written to

	if err := m.Extend(ctx); err != nil {
		log.Fatal(err)
	}
	if err := m.Unlock(ctx); err != nil {
		log.Fatal(err)
	}

	if err := m.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the next token is larger:", m.Token() > first)
	fmt.Println("unlocked:", m.Unlock(ctx) == nil)
	// Output:
	// held: true
	// the next token is larger: true
	// unlocked: true
}

// Two processes want the same key. The second learns who holds it, and when it
// could be free.
func ExampleMutex_TryLock_contention() {
	ctx := context.Background()
	nodes, c, stop := start()
	defer stop()
	other := connect(nodes)
	defer other.Close(ctx)

	mine, err := mutex.New(c, "order:42", mutex.Config{Owner: "web-7", TTL: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := mutex.New(other, "order:42", mutex.Config{Owner: "web-8"})
	if err != nil {
		log.Fatal(err)
	}
	if err := mine.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	first := mine.Token()
	err = theirs.TryLock(ctx)
	var held *mutex.NotAcquiredError
	if errors.As(err, &held) {
		fmt.Println(held.Reason, "for at most 10 s:", held.FreeIn <= 10*time.Second)
		fmt.Println("by", held.Holder)
	}

	if err := mine.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	if err := theirs.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("theirs, with a larger token:", theirs.Token() > first)
	fmt.Println("released:", theirs.Unlock(ctx) == nil)
	// Output:
	// held by another for at most 10 s: true
	// by web-7
	// theirs, with a larger token: true
	// released: true
}

// A holder that was busy for longer than its TTL learns at the next extension that
// it has lost the key.
func ExampleMutex_Extend_loss() {
	ctx := context.Background()
	_, c, stop := start()
	defer stop()
	m, err := mutex.New(c, "order:42", mutex.Config{TTL: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Lock(ctx); err != nil {
		log.Fatal(err)
	}

	<-time.After(time.Until(m.Until())) // the work
	err = m.Extend(ctx)
	var lost *mutex.LostError
	if errors.As(err, &lost) {
		fmt.Printf("%q is lost: %s\n", lost.Key, lost.Reason)
	}
	fmt.Println("there is nothing left to unlock:", errors.Is(m.Unlock(ctx), mutex.ErrReleased))
	// Output:
	// "order:42" is lost: expired
	// there is nothing left to unlock: true
}

// Code that uses redsync goes on using it, on the same nodes; the locks of this module and its mutexes exclude each
// other.
func ExampleRedsync() {
	ctx := context.Background()
	_, c, stop := start()
	defer stop()

	theirs := mutex.Redsync(c).NewMutex("lock:order:42") // the prefix and the key
	if err := theirs.LockContext(ctx); err != nil {
		log.Fatal(err)
	}
	ours, err := mutex.New(c, "order:42", mutex.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("while redsync has it:", errors.Is(ours.TryLock(ctx), mutex.ErrNotAcquired))

	if _, err := theirs.UnlockContext(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("afterwards:", ours.TryLock(ctx))
	fmt.Println("unlocked:", ours.Unlock(ctx) == nil)
	// Output:
	// while redsync has it: true
	// afterwards: <nil>
	// unlocked: true
}
