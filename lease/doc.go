// Package lease holds keys for as long as a job runs. A [Lease] is renewed in the
// background until it is released or lost, and its context ends when it does.
//
//	leases, err := lease.New(c, lease.Config{})
//	if err != nil {
//		return err
//	}
//	defer leases.Close(context.Background())
//
//	l, err := leases.Acquire(ctx, "job:reindex")
//	if err != nil {
//		return err
//	}
//	defer l.Release(context.Background())
//	at, _, resumed := l.LastCheckpoint() // where the previous holder was
//	err = reindex(l.Context(), l.Token(), at, resumed)
//
// [Lease.Detach] ends a lease and keeps its key for another process, which
// continues with [Leases.Attach]: a request acquires the lock, and a worker
// finishes the work under it.
//
// [Leases.Campaign] elects a leader, and [Leases.RunOnce] runs a job once over
// all processes; both use leases. To lock a key around a function call, use
// package lock: its callers within a process wait in FIFO order and hand keys
// over to each other.
//
// # Guarantees
//
// Of all processes that use the same nodes, one at a time holds a key, or readers
// hold it together. A holder learns of its loss before another process can
// acquire the key, as long as its process runs: the context ends before
// [Lease.Deadline], or as soon as the answers of the nodes show that too few of
// them still have the key. After a suspended machine resumes, its leases end
// within a quarter of a second, and [Lease.Err] reports the loss at once.
//
// Tokens are unique per key, and each is larger than those of all earlier holders.
// Readers may have the same token; the next holder's is larger.
//
// Nobody holds a key between Detach and Attach, and a handle attaches once.
//
// A lease survives restarts of nodes, one after another: a renewal sets the key
// again on a node that lost it, and writes the last checkpoint there again.
//
// Nothing outlives its TTL. The keys of a process that crashes expire within
// [Config.TTL].
//
// # Readers
//
// With the option lock.Shared, Acquire and TryAcquire hold a key beside other
// readers, those of package lock included, and never beside a holder without it:
//
//	l, err := leases.Acquire(ctx, "index", lock.Shared())
//	at, _, built := l.LastCheckpoint() // of the last holder, which is left as it is
//
// [Lease.Downgrade] makes a holder a reader. Readers differ from other leases:
//
//	                 no option               lock.Shared
//	waits            as the nodes queue it   also in order of arrival in the process
//	in the process   asks the nodes          is joined while nobody waits for the key
//	checkpoint       is read and written     is read; Checkpoint is an error
//	Detach, Attach   yes                     an error
//	Downgrade        yes                     an error
//	MinHold          yes                     an error
//	MaxHold ends     the lease               one reader
//	its loss ends    the lease               the readers that joined, too
//
// A reader that joins takes one round trip, for the checkpoint. A call that waits
// without the option comes before readers that ask later, in its process and in
// others: they wait for it, or TryAcquire fails. Campaign and RunOnce refuse
// lock.Shared, and all calls refuse lock.Limit.
//
// Do not acquire a key under a lease on it, not even to read: the call would wait
// for its caller. A lock.Locker detects that, Leases do not.
//
// # Names of keys
//
// RunOnce uses the key "once:" and the job's name, Campaign "election:" and the
// election's name. Their records take the place of a checkpoint, so do not use
// such a key with Acquire or with package lock.
//
// # What is not guaranteed
//
// A process that is stopped, or ignores the end of its context, may write after
// another process has acquired the key. Pass [Lease.Token] to the storage, and
// let it refuse tokens smaller than the largest it has seen; package fence does
// that.
//
// Package cluster describes what a quorum tolerates, and how nodes that lost
// their data are handled.
package lease
