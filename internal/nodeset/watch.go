package nodeset

import (
	"context"
	"time"
)

// Watch calls notify whenever a message comes on a pub/sub channel of any node, and
// whenever a subscription to it was made or was lost, because messages may have been
// missed before. It uses a connection of its own to each node, and ends with ctx or
// the Set. notify is called concurrently and must not block.
func (c *Set) Watch(ctx context.Context, channel string, notify func()) {
	context.AfterFunc(ctx, c.subscribe(ctx, notifier(notify), hearing{every: mailEvery, most: mailMost}, []string{channel}))
}

// notifier is a Subscriber that calls a function for each message and gap.
type notifier func()

func (n notifier) Message(*Node, string, string) { n() }
func (n notifier) Gap(*Node)                     { n() }
func (notifier) Heard(*Node, time.Time)          {}
