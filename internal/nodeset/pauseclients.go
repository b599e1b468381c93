package nodeset

import (
	"context"
	"errors"
	"time"
)

// PauseClients makes the server answer no client for d. It then resumes by
// itself; nothing ends the pause early, not even this process. It needs the
// right +client|pause.
func (n *Node) PauseClients(ctx context.Context, d time.Duration) error {
	if n.isCluster || n.canFailOver {
		return errors.New("is a Redis Cluster or is watched by Sentinel, which would fail over; pause single servers")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*n.c.cfg.NodeTimeout)
	defer cancel()
	return n.client.Do(ctx, "client", "pause", d.Milliseconds(), "all").Err()
}
