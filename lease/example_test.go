package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// process is what each process that coordinates has: a view of the nodes, and its leases.
func process(ctx context.Context, nodes *embedded.Nodes) (*lease.Leases, func()) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), NodeTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	leases, err := lease.New(c, lease.Config{RenewEvery: time.Second})
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

// Readers hold a key together, and find what the last job left there.
func ExampleLeases_Acquire_shared() {
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

	job, err := here.Acquire(ctx, "job:reindex")
	if err != nil {
		panic(err)
	}
	err = errors.Join(job.Checkpoint(ctx, []byte("page 12")), job.Release(ctx))
	fmt.Println("the job:", err)

	for _, leases := range []*lease.Leases{here, here, there} {
		reader, err := leases.Acquire(ctx, "job:reindex", lock.Shared())
		if err != nil {
			panic(err)
		}
		defer reader.Release(ctx)
		at, _, ok := reader.LastCheckpoint()
		fmt.Printf("a reader: %s %t\n", at, ok)
	}
	_, err = there.TryAcquire(ctx, "job:reindex")
	fmt.Println("a job, while they read:", errors.Is(err, lease.ErrNotAcquired))
	// Output:
	// the job: <nil>
	// a reader: page 12 true
	// a reader: page 12 true
	// a reader: page 12 true
	// a job, while they read: true
}

// A request takes the lock, and a worker in another process finishes the job under
// it. The handle travels in the job.
func ExampleLeases_Attach() {
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	defer nodes.Close()
	ctx := context.Background()
	server, closeServer := process(ctx, nodes)
	defer closeServer()
	worker, closeWorker := process(ctx, nodes)
	defer closeWorker()

	type job struct {
		Order int
		Lease lease.Handle
	}
	queue := make(chan []byte, 1)
	http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l, err := server.TryAcquire(r.Context(), "order:42", lease.TTL(30*time.Second))
		if err != nil {
			http.Error(w, "the order is being packed", http.StatusConflict)
			return
		}
		handle, err := l.Detach(r.Context())
		if err != nil {
			http.Error(w, "the order is not locked", http.StatusServiceUnavailable)
			return
		}
		text, _ := json.Marshal(job{42, handle})
		queue <- text
		w.WriteHeader(http.StatusAccepted)
		fmt.Println("accepted; the server's lease:", context.Cause(l.Context()))
	}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/orders/42/pack", nil))

	_, err = server.TryAcquire(ctx, "order:42")
	fmt.Println("another request is refused:", errors.Is(err, lease.ErrNotAcquired))

	var next job
	if err := json.Unmarshal(<-queue, &next); err != nil {
		panic(err)
	}
	l, err := worker.Attach(ctx, next.Lease)
	if err != nil {
		panic(err)
	}
	fmt.Println("the worker holds", l.Key())

	_, err = worker.Attach(ctx, next.Lease) // the job was delivered twice
	var used *lease.NotAcquiredError
	fmt.Println("the second delivery is refused:", errors.As(err, &used), used.Class)
	fmt.Println("released:", l.Release(ctx))
	// Output:
	// accepted; the server's lease: redlock: detached
	// another request is refused: true
	// the worker holds order:42
	// the second delivery is refused: true handle
	// released: <nil>
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
