package harness

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Nodes is a [Set] with a plain client of each node, to read and change the
// nodes' data. Its methods end the test if a node does not answer.
type Nodes struct {
	Set
	Clients []*redis.Client
	t       testing.TB
}

// Inspect creates the clients, which are closed at the end of the test.
func Inspect(t testing.TB, s Set) *Nodes {
	n := &Nodes{Set: s, t: t}
	for i := range s.Len() {
		n.Clients = append(n.Clients, Client(t, s, i))
	}
	return n
}

// Get returns the string at key on node i, "" if there is none.
func (n *Nodes) Get(i int, key string) string {
	n.t.Helper()
	began := time.Now()
	value, err := n.Clients[i].Get(context.Background(), key).Result()
	if !errors.Is(err, redis.Nil) {
		Must(n.t, began, err)
	}
	return value
}

// Put sets a string on node i.
func (n *Nodes) Put(i int, key, value string, ttl time.Duration) {
	n.t.Helper()
	began := time.Now()
	Must(n.t, began, n.Clients[i].Set(context.Background(), key, value, ttl).Err())
}

// Flush calls the function [Flush] on these nodes.
func (n *Nodes) Flush(nodes ...int) {
	n.t.Helper()
	for _, i := range nodes {
		began := time.Now()
		Must(n.t, began, Flush(n.Clients[i]))
	}
}

// Keys lists the keys on node i that match a glob pattern.
func (n *Nodes) Keys(i int, pattern string) []string {
	n.t.Helper()
	began := time.Now()
	keys, err := n.Clients[i].Keys(context.Background(), pattern).Result()
	Must(n.t, began, err)
	return keys
}

// Having lists the nodes that have the key. It leaves out nodes that do not
// answer.
func (n *Nodes) Having(key string) (nodes []int) {
	for i, c := range n.Clients {
		if found, err := c.Exists(context.Background(), key).Result(); err == nil && found > 0 {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// Gone waits until the nodes that have a key are those of except, for each of
// keys. Then it calls settle, which waits for every answer in flight, and
// checks that no late answer created a key again.
func (n *Nodes) Gone(settle func(), except []int, keys ...string) {
	n.t.Helper()
	for _, key := range keys {
		Eventually(n.t, "no node has "+key, func() bool { return slices.Equal(n.Having(key), except) })
	}
	settle()
	for _, key := range keys {
		if nodes := n.Having(key); !slices.Equal(nodes, except) {
			n.t.Errorf("nodes %v have %q again", nodes, key)
		}
	}
}
