package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// start opens a Store on five nodes. A real program uses the URLs of its nodes.
func start(ctx context.Context) (nodes *embedded.Nodes, store *session.Store, stop func()) {
	nodes, err := embedded.Start(5)
	if err != nil {
		panic(err)
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		panic(err)
	}
	locker, err := lock.New(c, lock.Config{})
	if err != nil {
		panic(err)
	}
	store, err = session.New(c, session.Config{Locker: locker})
	if err != nil {
		panic(err)
	}
	return nodes, store, func() {
		store.Close()
		locker.Close(ctx)
		c.Close(ctx)
		nodes.Close()
	}
}

func Example() {
	ctx := context.Background()
	nodes, store, stop := start(ctx)
	defer stop()

	s, err := store.Create(ctx, "ann", map[string]any{"cart": []string{"book"}})
	if err != nil {
		panic(err)
	}
	id := s.ID() // for the cookie
	nodes.Stop(0)
	nodes.Stop(1)

	s, err = store.Load(ctx, id)
	if err != nil {
		panic(err)
	}
	cart, _, err := session.Get[[]string](s, "cart")
	fmt.Println(s.User(), cart, err)

	fmt.Println("destroyed:", store.Destroy(ctx, id))
	s.Set("cart", append(cart, "pen"))
	fmt.Println("written to later:", errors.Is(s.Commit(ctx), session.ErrSessionGone))
	_, err = store.Load(ctx, id)
	fmt.Println("read later:", errors.Is(err, session.ErrSessionGone))

	nodes.Stop(2) // below a quorum the answer is unknown
	_, err = store.Load(ctx, id)
	fmt.Println("too few nodes:", errors.Is(err, session.ErrNoQuorum))
	// Output:
	// ann [book] <nil>
	// destroyed: <nil>
	// written to later: true
	// read later: true
	// too few nodes: true
}

// At log-in the session gets a new id, so that an id that was known before is
// useless.
func ExampleSession_Renew() {
	ctx := context.Background()
	_, store, stop := start(ctx)
	defer stop()

	s, err := store.Create(ctx, "", map[string]any{"cart": "book"})
	if err != nil {
		panic(err)
	}
	before := s.ID()
	fmt.Println(s.Renew(ctx, session.As("ann")))
	_, err = store.Load(ctx, before)
	fmt.Println("the old id:", errors.Is(err, session.ErrSessionGone))
	s, err = store.Load(ctx, s.ID())
	if err != nil {
		panic(err)
	}
	cart, _, _ := session.Get[string](s, "cart")
	fmt.Println(s.User(), cart)
	// Output:
	// <nil>
	// the old id: true
	// ann book
}

func ExampleStore_LogoutAll() {
	ctx := context.Background()
	_, store, stop := start(ctx)
	defer stop()

	var devices []*session.Session
	for _, device := range []string{"phone", "desk", "unknown"} {
		s, err := store.Create(ctx, "ann", map[string]any{"device": device})
		if err != nil {
			panic(err)
		}
		devices = append(devices, s)
	}
	fmt.Println(store.LogoutAll(ctx, "ann", devices[0])) // all but the phone
	list, err := store.List(ctx, "ann")
	if err != nil {
		panic(err)
	}
	for _, s := range list {
		device, _, _ := session.Get[string](s, "device")
		fmt.Println(device)
	}
	// Output:
	// <nil>
	// phone
}

func ExampleStore_Update() {
	ctx := context.Background()
	_, store, stop := start(ctx)
	defer stop()

	s, err := store.Create(ctx, "ann", nil)
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			err := store.Update(ctx, s.ID(), func(_ context.Context, s *session.Session) error {
				n, _, err := session.Get[int](s, "items")
				return errors.Join(err, s.Set("items", n+1))
			})
			if err != nil {
				panic(err)
			}
		})
	}
	wg.Wait()
	s, err = store.Load(ctx, s.ID())
	if err != nil {
		panic(err)
	}
	n, _, _ := session.Get[int](s, "items")
	fmt.Println(n)
	// Output: 10
}
