package lock

import (
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// MaxLimit is the largest [Limit].
const MaxLimit = quorumlock.MaxLimit

// Limit lets up to n holders, from 1 to 1,024, hold the key at once, across all
// processes. Each has a slot, numbered from 0, which no other holder has at the
// same time: [lease.Lease.Slot] returns it. All callers of a key must give the same
// n. While a slot is taken, a caller that gives a different n gets an error that
// names both, and callers without Limit wait until no slot is taken: do not mix
// them if some slot is always taken.
//
// It is an option of [Locker.WithLock], [Do], [Locker.Lock] and [Locker.TryLock].
// Waiters of a process are served in the order in which they came, but for the one
// that waits at the nodes, which others may overtake for 10 ms. MinHold, WithLocks,
// LockAll, and the calls of a lease.Leases refuse Limit, and such a lease has no
// checkpoints and cannot be detached. Config.Retain does not apply. A caller that
// holds a slot and asks for another of the same key gets [ErrReentrant].
//
// Tokens are unique for the key. Those of one slot only grow; between slots, a
// hand-over within a process may give a smaller token than that of a slot acquired
// meanwhile. So let a storage compare the tokens of one slot: package fence does.
//
// The costs on a node do not grow with n in a way that shows: see
// docs/performance.md.
func Limit(n int) Option { return keepalive.Limit(n) }
