package cluster

import "context"

// Watch calls bell whenever a message comes on a pub/sub channel of any node, and whenever a subscription to it was made
// or made again, because messages may have been missed before. It uses a connection of its own to each node, and ends
// with ctx or the Cluster. bell is called concurrently and must not block.
func (c *Cluster) Watch(ctx context.Context, channel string, bell func()) {
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(c.ctx, cancel)
	context.AfterFunc(ctx, func() { forget() })
	for _, n := range c.nodes {
		c.spawn(func() {
			sub := n.client.Subscribe(ctx, channel)
			stop := context.AfterFunc(ctx, func() { sub.Close() })
			defer stop()
			for range sub.ChannelWithSubscriptions() {
				bell()
			}
		})
	}
}
