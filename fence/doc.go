// Package fence makes storages refuse writers that lost their lock.
//
// A process can be stopped between its last look at a lock and its write: by its
// garbage collector, its hypervisor, or a network that delays the write. By the
// time the write arrives, the lock may have passed on. No lock with a time limit
// prevents that. The storage can: every holder of a lock has a fencing token,
// larger than those of all earlier holders, so a storage that keeps the newest
// token it has seen of each key can refuse every late writer.
//
//	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
//		r := fence.Redis{Client: data} // where the data is, not a node of the locks
//		return r.Set(ctx, "order:42", "{order:42}:state", "packed", 0)
//	})
//	if errors.Is(err, fence.ErrStale) { … } // a newer holder was here; nothing was written
//
// The token is taken from ctx: that of the lock that ctx is under, or that of
// [WithToken] if it arrived with a request.
//
//   - [SQL] checks within a transaction of the caller.
//   - [Redis] checks and writes in one script.
//   - [File] keeps tokens in a file, for jobs that share a directory; the
//     command redlock fence check does so for shell scripts.
//   - [RoundTripper] and [Handler] carry tokens over HTTP.
//   - [Memory] is for tests. Any other storage is a [Store] if it can compare
//     and replace one number in one step, and a [ReadStore] if it can do so with
//     two.
//
// A function under a lock of lock.Shared calls [CheckRead] instead of [Check],
// before it reads.
//
// # What is promised
//
// Once Check of a token has returned nil, no check of an older token of that
// key passes in that storage. A check of the same token passes again: it is the
// same holder's. A refused check changes no token.
//
// Readers do not refuse each other, whatever their tokens. Once a reader's
// check has returned nil, no writer from before that reader passes, also if it
// has the reader's token: readers draw no tokens, and the last writer before
// them may have the same one. Once a writer's check has returned nil, no reader
// from before it passes. No check of a holder that still has its lock is
// refused.
//
// # Keys
//
// A store sees the key as the caller of the lock gives it, without Config.Prefix.
// Locks of one key under two prefixes are two locks, and their tokens have no
// order. If they protect different data, give each prefix a store of its own: a
// table, a file, a [Redis] Prefix. If they protect the same data, they do not:
// use one prefix.
//
// The holders of a key with a limit are right at the same time, so each slot has
// tokens of its own: stores see the key, "#" and the slot, such as "gpu#2". Let no
// lock have such a key. [WithToken] and [Header] carry it as well, and a check of
// "gpu" uses it.
//
// If ctx is under locks on several keys, each is checked by its own token and
// mode. After lease.Lease.Downgrade a holder is a reader.
//
// # What is not promised
//
// A storage learns of a holder from that holder's first check. Until then an
// older writer passes, and the newer holder reads what it wrote, provided that
// the newer holder checks before it reads. So check first, then read, then
// write.
//
// If check and write are two steps, a newer holder may write in between. [SQL]
// has no such gap, because both are in one transaction, nor have the writing
// methods of [Redis]. Where the tokens are stored apart from the data, as with a
// [Handler] in front of a database or a [File] beside what a job writes, a
// writer may still be stopped in the gap.
//
// Tokens order holders, not the writes of one holder.
//
// # Forgetting
//
// Every store has a method Forget that removes a key. It is for one case: the
// tokens of the key have fallen, because the nodes lost their data or their
// fence counters were repaired (redlock nodes --repair-fences), and the storage
// refuses every new holder. Until a new holder has checked, a late writer
// passes. Stop all writers of the key first, and start none before it is
// removed.
package fence
