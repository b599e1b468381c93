//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/session"
)

// sessionRig is five servers, with a store of sessions on all, and what keeps sessions on one of them.
type sessionRig struct {
	clients []*redis.Client
	ours    *session.Store
	scs     *goredisstore.RedisStore
}

func newSessionRig(b *testing.B) *sessionRig {
	b.Helper()
	clients, c := newServers(b, nodeCount)
	ours, err := session.New(c, session.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return &sessionRig{clients, ours, goredisstore.New(clients[0])}
}

// onAll does the same on every server at once, by plain go-redis: no less can be asked of five nodes.
func (r *sessionRig) onAll(do func(c *redis.Client) error) error {
	errs := make([]error, len(r.clients))
	var wg sync.WaitGroup
	for i, c := range r.clients {
		wg.Go(func() { errs[i] = do(c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func newToken() string {
	var id [32]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// BenchmarkSession_Steps does each step of a session with two fields of 300 bytes: on five nodes, on one by scs's own store and
// by bare commands of go-redis, and by those on all five.
func BenchmarkSession_Steps(b *testing.B) {
	ctx := context.Background()
	r := newSessionRig(b)
	one, blob := r.clients[0], []byte(value+value[:100])
	fields := map[string]any{"cart": value, "name": value[:50]}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	set := func(key string) func(c *redis.Client) error {
		return func(c *redis.Client) error { return c.Set(ctx, key, blob, time.Hour).Err() }
	}
	get := func(c *redis.Client) error { return c.Get(ctx, "bare").Err() }
	del := func(key string) func(c *redis.Client) error {
		return func(c *redis.Client) error { return c.Del(ctx, key).Err() }
	}
	must(r.onAll(set("bare")))
	token, in := newToken(), time.Now().Add(time.Hour)
	must(r.scs.CommitCtx(ctx, token, blob, in))
	ours, err := r.ours.Create(ctx, "", fields)
	must(err)
	mine := sync.Pool{New: func() any { // a session for each goroutine
		s, err := r.ours.Create(ctx, "", fields)
		if err != nil {
			panic(err)
		}
		return s
	}}
	for _, goroutines := range []int{1, 64} {
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"load/GET", func() error { return get(one) }},
			{"load/five GETs", func() error { return r.onAll(get) }},
			{"load/goredisstore", func() error { _, _, err := r.scs.FindCtx(ctx, token); return err }},
			{"load/redlock", func() error { _, err := r.ours.Load(ctx, ours.ID()); return err }},
			{"commit/SET", func() error { return set("bare")(one) }},
			{"commit/five SETs", func() error { return r.onAll(set("bare")) }},
			{"commit/goredisstore", func() error { return r.scs.CommitCtx(ctx, token, blob, in) }},
			{"commit/redlock", func() error {
				s := mine.Get().(*session.Session)
				defer mine.Put(s)
				return errors.Join(s.Set("name", value[:50]), s.Commit(ctx))
			}},
			{"create/SET", func() error { return set(newToken())(one) }},
			{"create/five SETs", func() error { return r.onAll(set(newToken())) }},
			{"create/goredisstore", func() error { return r.scs.CommitCtx(ctx, newToken(), blob, in) }},
			{"create/redlock", func() error { _, err := r.ours.Create(ctx, "", fields); return err }},
		} {
			b.Run(fmt.Sprintf("goroutines=%d/%s", goroutines, step.name), func(b *testing.B) { spread(b, goroutines, step.do) })
		}
		for _, step := range []struct {
			name string
			make func() (string, error)
			do   func(id string) error
		}{
			{"DEL", func() (string, error) { k := newToken(); return k, set(k)(one) }, func(k string) error { return del(k)(one) }},
			{"five DELs", func() (string, error) { k := newToken(); return k, r.onAll(set(k)) }, func(k string) error { return r.onAll(del(k)) }},
			{"goredisstore", func() (string, error) { k := newToken(); return k, r.scs.CommitCtx(ctx, k, blob, in) },
				func(k string) error { return r.scs.DeleteCtx(ctx, k) }},
			{"redlock", func() (string, error) {
				s, err := r.ours.Create(ctx, "", fields)
				if err != nil {
					return "", err
				}
				return s.ID(), nil
			}, func(id string) error { return r.ours.Destroy(ctx, id) }},
		} {
			b.Run(fmt.Sprintf("goroutines=%d/destroy/%s", goroutines, step.name), func(b *testing.B) {
				ids := make(chan string, b.N+1)
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for {
							id, err := step.make()
							if err != nil {
								b.Error(err)
								return
							}
							select {
							case ids <- id:
							default:
								return
							}
						}
					})
				}
				wg.Wait()
				spread(b, goroutines, func() error { return step.do(<-ids) })
			})
		}
	}
}
