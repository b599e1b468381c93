package lock

import "github.com/venta-hq/redlock/internal/keepalive"

// Shared locks the key to read: beside other readers of this and other processes, and
// never beside a holder without Shared. It fits [Locker.WithLock], [Do],
// [Locker.Lock] and [Locker.TryLock], and Acquire and TryAcquire of a
// lease.Leases: package lease says how its readers differ.
//
// A process reads a key once on the nodes, however many of its goroutines do: one
// more asks no node while nobody waits for the key, here or in another process.
// Otherwise it waits in order of arrival, so that readers do not starve writers, nor
// writers readers. The readers of a process have the TTL, and other processes see the
// Owner, of the one that asked the nodes. Each has its own context, MaxHold and
// release; if the key is lost, all of them are.
//
// Readers share a token: it is at least that of every writer that finished before,
// and below that of every later writer. A storage accepts a reader whose token is not
// below the largest that a writer has shown, and a writer whose token is that large
// and above the largest that a reader has shown: see fence.CheckRead.
//
// A context that holds the key, in either way, can neither read nor write it
// again: that is [ErrReentrant]. lease.Lease.Downgrade makes a holder a reader;
// nothing makes a reader a holder. MinHold, WithLocks and LockAll, and Attach,
// Campaign and RunOnce of a lease.Leases refuse Shared with an error.
// Config.Retain does not apply to it. For several keys there is [SharedKeys].
// Do not use Shared and [Limit] for one key: they exclude each other, but
// readers may pass waiters for a slot.
func Shared() Option { return keepalive.Shared() }

// SharedKeys has [Locker.WithLocks] and [Locker.LockAll] lock these keys as well, to
// read, as with [Shared]. A key that is among the keys to write, too, is not shared.
// MinHold does not fit it.
//
//	err := locker.WithLocks(ctx, []string{"account:7"}, book, lock.SharedKeys("rates"))
func SharedKeys(keys ...string) Option { return keepalive.SharedKeys(keys) }
