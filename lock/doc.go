// Package lock runs functions so that of all processes only one at a time runs them:
//
//	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
//		token, _ := lock.Token(ctx) // pass it to the storage you write
//		…                           // ctx ends if the lock is lost; context.Cause says why
//		return nil
//	})
//
// # What is promised
//
// What package lease promises of leases holds of locks: fn's context ends before anybody else can hold the key, and
// tokens grow. In one process, who waits for a key is served in the order of asking, and only the first asks the nodes: a
// thousand waiters cost them what one costs. Across processes, a release wakes the process that has waited longest;
// behind the wake stands a timer, so a key whose holder crashed is taken when it expires. A process that has used none of
// three wakes, as one that is stopped, loses its place in the queue at the fourth; when it looks again it queues at the
// end. A lock is given back when fn
// returns, fails, or panics, and a context that has ended never gets one.
//
// A lock that is released while others of the same process wait is handed over within the process, with the next
// fencing token, without asking the nodes: 63 times at first, then twice as often as the last time, up to 65,535 times; for
// at most 10 ms once another process is known to wait; and not when less than half the TTL is left.
//
// # What is not
//
// A function that goes on when its context has ended, or a process that is stopped and wakes up late, runs beside the
// next holder. Let the storage refuse tokens older than the newest it has seen.
package lock
