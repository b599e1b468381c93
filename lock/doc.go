// Package lock runs functions under distributed locks: of all processes on the
// same nodes, one at a time runs the function of a key.
//
//	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
//		token, _ := lock.Token(ctx) // pass it to the storage you write
//		…                           // ctx ends if the lock is lost; context.Cause says why
//		return nil
//	})
//
// [Open] makes a [Locker] from URLs, and [New] makes one on a cluster.Cluster.
//
// # Guarantees
//
// A lock is a lease, and the guarantees of package lease hold: the context of the
// function ends before another process can acquire the key, and fencing tokens
// grow. The lock is released when the function returns, fails or panics. A context
// that has ended never acquires a lock.
//
// Within a process, callers wait for a key in FIFO order. At most one of them
// contends for it, so a thousand local waiters load the nodes no more than one.
//
// Across processes, a release notifies the process that has waited longest. A timer
// backs up the notification, so a crashed holder's key is acquired when it expires.
// A process that has not used three notifications, because it is stopped, loses its
// place in the queue at the fourth. When it asks the nodes again, it queues at the
// end.
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
// Such calls never deadlock, with each other or with calls that lock one key: all
// acquire keys in the order of their names on the nodes, and hold no key that sorts
// behind the one they wait for. Keys that are held are not released to let others
// pass, so the order in which processes are served is fair for each key. A call whose
// caller holds another lock, by whatever call, is outside of this order, and nothing
// detects that two of them wait for each other.
//
// # Readers
//
// With [Shared], a key is held by readers together, or by one holder without it.
// Callers wait in order of arrival, in each process and across processes.
//
//	             a context that holds the key    waits      is handed over    MinHold    MaxHold
//	without      ErrReentrant                    in order   in the process    yes        ends the lock
//	Shared       ErrReentrant                    in order   is joined         an error   ends the reader's part
//	WithLocks    ErrReentrant                    key by key as without        yes        ends all
//
// With NoWait none of them waits: a reader joins others of its process if nobody
// waits for the key.
//
// # Hand-overs
//
// A lock that is released while other callers of the process wait is handed over
// within the process, with the next fencing token, and the nodes are not asked. This
// happens at most 63 times in a row at first, then twice as often as the last time,
// up to 65,535 times. Once another process is known to wait, hand-overs go on for at
// most 10 ms. A lock with less than half of its TTL left is not handed over.
//
// # Retention
//
// With Config.Retain a process keeps a key that it has released and that nobody
// waits for, and its next caller acquires it as by a hand-over, later. Another
// process that asks for the key ends the retention. Nothing is retained after a
// lock with MinHold, or while fewer than a quorum of nodes send this process
// messages, because it would not learn that another process asks.
//
// Do not retain keys that many processes lock in turn, or that callers of redsync or
// package mutex lock as well, because they poll; nor keys for which others must not
// wait a TTL when a process crashes between two uses.
//
// # What is not guaranteed
//
// A function that goes on after its context has ended, or a process that is stopped
// and resumes late, may write beside the next holder. Let the storage refuse tokens
// smaller than the largest it has seen.
package lock
