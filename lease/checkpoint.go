package lease

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// CheckpointInfo describes a checkpoint without its data. Its fields are
//
//	Key      string
//	Token    int64 // of the lease that made it
//	Revision int64 // counts the checkpoints of one lease; 0 once a later lease has taken it over
//	Size     int   // in bytes
type CheckpointInfo = keepalive.CheckpointInfo

// CheckpointInfo describes the newest checkpoint of key that a quorum of nodes
// reports; ok is false if there is none. It writes nothing, so the next lease
// on key may find another one. The error is a [*cluster.QuorumError] or has
// ctx.Err() in its chain.
func (s *Leases) CheckpointInfo(ctx context.Context, key string) (info CheckpointInfo, ok bool, err error) {
	return s.engine().CheckpointInfo(ctx, key)
}
