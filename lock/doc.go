// Package lock runs functions under distributed locks: of all processes that
// use the same nodes, one at a time runs the function for a key.
//
//	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
//		token, _ := lock.Token(ctx) // pass it to the storage you write
//		…                           // ctx ends if the lock is lost; context.Cause says why
//		return nil
//	})
//
// [Open] makes a [Locker] from URLs, and [New] makes one on a
// [cluster.Cluster].
//
// # Guarantees
//
// A lock is a lease, and the guarantees of package [lease] hold: the context of
// the function ends before another process can acquire the key, and fencing
// tokens grow. The lock is released when the function returns, fails or panics.
// A context that has ended never acquires a lock.
//
// Within a process, callers wait for a key in FIFO order. At most one of them
// contends for it, so a thousand local waiters load the nodes no more than one.
//
// Across processes, a release notifies the process that has waited longest. A
// timer backs up the notification, so a crashed holder's key is acquired when
// it expires. A process that leaves three notifications unused, as one that is
// stopped does, loses its place in the queue at the fourth. It queues at the
// end when it asks again.
//
// # Several keys
//
// [Locker.WithLocks] and [Locker.LockAll] hold several keys at once, or none:
//
//	err := locker.WithLocks(ctx, []string{"account:7", "account:3"}, func(ctx context.Context) error {
//		from, _ := lock.TokenOf(ctx, "account:7")
//		to, _ := lock.TokenOf(ctx, "account:3")
//		…
//	})
//
// Such calls never deadlock, neither with each other nor with calls that lock
// one key. Each acquires its keys in the order of their names on the nodes, and
// holds no key that sorts after the one it waits for. It does not release keys
// to let others pass, so waiting is fair for each key. A caller that already
// holds another lock is outside this order: nothing detects that two such
// callers wait for each other.
//
// # Modes
//
// Without an option, a key has one holder at a time. With [Shared], readers hold
// it together, and no writer alongside them. With [Limit], up to n holders share
// it, each in a numbered slot. [SharedKeys] shares some of several keys.
//
//	err := locker.WithLock(ctx, "catalog", export, lock.Shared())
//	err := locker.WithLock(ctx, "gpu", train, lock.Limit(4))
//
// The modes exclude each other: a key that is shared, or has slots, is held for a
// caller of another mode, and so it is for a program of an earlier version.
//
//	            if ctx holds it   waits             in the process    MinHold    MaxHold ends
//	no option   ErrReentrant      in order          is handed over    yes        the lock
//	Shared      ErrReentrant      in order          is joined         an error   one reader
//	Limit       ErrReentrant      in order          is handed over    an error   one slot
//	WithLocks   ErrReentrant      key by key        is handed over    yes        all keys
//
// "In order" is that of arrival in a process, and by node across processes.
// [Wait] bounds the wait in all modes. With [NoWait] a reader joins others of its
// process if nobody waits for the key, and the others take what is free.
// Config.Retain applies to keys that are neither shared nor have slots. Package
// lease also accepts [Shared], with a table of its own.
//
// Calls of a lease.Leases without Shared have no place in the order within a
// process: they ask the nodes beside it. Readers that come while one waits do not
// pass it.
//
// # Hand-overs
//
// A lock that is released while other callers of the process wait is handed
// over within the process, with the next fencing token and without a round
// trip. The first run of hand-overs is at most 63 long. Each later run is at
// most about twice as long as the one before, or 63, and never longer than
// 65,535. Once another process is known to wait, hand-overs go on for at most
// 10 ms. A lock with less than half of its TTL left is not handed over.
//
// # Retention
//
// With [Config.Retain] a process keeps a key after its release if nobody waits
// for it. The next caller in the process acquires it without a round trip, as
// by a hand-over. Another process that asks for the key ends the retention.
// Nothing is retained after a lock with MinHold, or while fewer than a quorum
// of nodes send this process messages, because it might not learn that another
// process asks.
//
// Do not retain keys that many processes lock in turn. Do not retain keys that
// are also locked through redsync or package mutex, which poll. Do not retain
// keys for which others must not wait a TTL when a process crashes between two
// uses.
//
// # What is not guaranteed
//
// A function that continues after its context has ended, or a process that is
// stopped and resumes late, may write at the same time as the next holder. Let
// the storage refuse tokens smaller than the largest it has seen; package fence
// does that.
package lock
