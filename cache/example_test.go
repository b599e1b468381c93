package cache_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
)

type user struct{ Name string }

// begin starts three nodes and opens a Cluster on them. A real program uses the
// URLs of its nodes.
func begin(ctx context.Context) (c *cluster.Cluster, stop func()) {
	nodes, err := embedded.Start(3)
	if err != nil {
		panic(err)
	}
	c, err = cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), NodeTimeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.Close(ctx)
		nodes.Close()
	}
}

func ExampleCache_Fetch() {
	ctx := context.Background()
	c, stop := begin(ctx)
	defer stop()
	users, err := cache.New(c, cache.Config[user]{Prefix: "cache:user:", TTL: 10 * time.Minute})
	if err != nil {
		panic(err)
	}
	defer users.Close(ctx)

	table := map[string]user{"7": {"Ada"}} // the database
	get := func(id string) {
		u, err := users.Fetch(ctx, id, func(context.Context) (user, error) {
			fmt.Println("loading", id)
			u, ok := table[id]
			if !ok {
				return u, cache.ErrNotFound
			}
			return u, nil
		})
		fmt.Println(u.Name, err)
	}
	get("7")
	get("7")
	table["7"] = user{"Ada Lovelace"}
	fmt.Println("deleted:", users.Delete(ctx, "7"))
	get("7")
	get("8")
	get("8")
	// Output:
	// loading 7
	// Ada <nil>
	// Ada <nil>
	// deleted: <nil>
	// loading 7
	// Ada Lovelace <nil>
	// loading 8
	//  redlock: not found
	//  redlock: not found
}

// If a value changes while it is being loaded, the old value is served only to
// callers that asked before the change.
func ExampleCache_Delete() {
	ctx := context.Background()
	c, stop := begin(ctx)
	defer stop()
	prices, err := cache.New(c, cache.Config[int]{Prefix: "cache:price:"})
	if err != nil {
		panic(err)
	}
	defer prices.Close(ctx)
	price, err := prices.Fetch(ctx, "tea", func(ctx context.Context) (int, error) {
		read := 3 // from the database, where it changes right afterwards
		return read, prices.Delete(ctx, "tea")
	})
	fmt.Println(price, err)
	_, ok, err := prices.Get(ctx, "tea")
	fmt.Println("stored:", ok, err, "refused:", prices.Stats().Refused)
	// Output:
	// 3 <nil>
	// stored: false <nil> refused: 1
}

func ExampleTags() {
	ctx := context.Background()
	c, stop := begin(ctx)
	defer stop()
	pages, err := cache.New(c, cache.Config[string]{Prefix: "cache:page:"})
	if err != nil {
		panic(err)
	}
	defer pages.Close(ctx)
	pages.Set(ctx, "/profile", "…", cache.Tags("user:7"))
	pages.Set(ctx, "/orders", "…", cache.Tags("user:7", "orders"))
	pages.Set(ctx, "/about", "…")
	fmt.Println(pages.DeleteTag(ctx, "user:7"))
	left, err := pages.GetMany(ctx, "/profile", "/orders", "/about")
	fmt.Println(len(left), err)
	// Output:
	// <nil>
	// 1 <nil>
}

// Compressed is a codec that compresses what another encodes.
type Compressed[V any] struct{ cache.Codec[V] }

func (c Compressed[V]) Encode(v V) ([]byte, error) {
	data, err := c.Codec.Encode(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func (c Compressed[V]) Decode(data []byte, v *V) error {
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil {
		return err
	}
	return c.Codec.Decode(plain, v)
}

func ExampleCodec() {
	ctx := context.Background()
	c, stop := begin(ctx)
	defer stop()
	texts, err := cache.New(c, cache.Config[string]{Codec: Compressed[string]{cache.JSON[string]{}}})
	if err != nil {
		panic(err)
	}
	defer texts.Close(ctx)
	fmt.Println(texts.Set(ctx, "k", "compressed"))
	fmt.Println(texts.Get(ctx, "k"))
	// Output:
	// <nil>
	// compressed true <nil>
}
