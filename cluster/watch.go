package cluster

import (
	"context"
	"time"
)

// Watch calls bell whenever a message comes on a pub/sub channel of any node, and whenever a subscription to it was made
// or was lost, because messages may have been missed before. It uses a connection of its own to each node, and ends
// with ctx or the Cluster. bell is called concurrently and must not block.
func (c *Cluster) Watch(ctx context.Context, channel string, bell func()) {
	context.AfterFunc(ctx, c.subscribe(ctx, ringer(bell), hearing{every: mailEvery, most: mailMost}, []string{channel}))
}

// ringer is a Subscriber that calls a function for each message and gap.
type ringer func()

func (r ringer) Message(*Node, string, string) { r() }
func (r ringer) Gap(*Node)                     { r() }
func (ringer) Heard(*Node, time.Time)          {}
