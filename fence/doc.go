// Package fence has storages refuse a writer that lost its lock.
//
// A process can be stopped after it looked at its lock and before it writes: by
// its garbage collector, its hypervisor, a network that holds the write back.
// By the time the write arrives, the lock may have passed on. No lock with a
// time limit prevents that. The storage can: every holder of a lock has a
// fencing token, larger than those of all earlier holders, so a storage that
// keeps the newest token it has seen of each key refuses every writer that
// comes late.
//
//	err := locker.WithLock(ctx, "order:42", func(ctx context.Context) error {
//		r := fence.Redis{Client: data} // where the data is, not a node of the locks
//		return r.Set(ctx, "order:42", "{order:42}:state", "packed", 0)
//	})
//	if errors.Is(err, fence.ErrStale) { … } // a newer holder was here; nothing was written
//
// The token is taken from ctx: from the lock under which it is, or from
// [WithToken] where it arrived with a request.
//
//   - [SQL] checks within a transaction of the caller.
//   - [Redis] checks and writes in one script.
//   - [File] keeps tokens in a file, for jobs that share a directory; the
//     command redlock fence check does so for shell scripts.
//   - [RoundTripper] and [Handler] carry tokens over HTTP.
//   - [Memory] is for tests. Any other storage is a [Store] if it can compare
//     and replace one number in one step.
//
// # What is promised
//
// Once a check of a token has returned nil, no check of an older token of that
// key passes in that storage. A check of the same token passes again: it is of
// the same holder. A check that is refused changes nothing.
//
// # What is not
//
// A storage learns of a holder from that holder's first check. Until then an
// older writer passes; whatever it writes is there when the newer holder first
// looks, provided that the newer holder checks before it reads. So check first,
// then read, then write.
//
// A check and a write that are two steps leave a gap: a newer holder may write
// in between. [SQL] has none, since both are in one transaction, and the
// writing methods of [Redis] have none. Where the storage of the tokens is not
// that of the data, as with a [Handler] before a database or a [File] beside
// what a job writes, a writer may still be stopped in the gap.
//
// Tokens order holders, not the writes of one holder.
//
// # Forgetting
//
// Every store can forget a key, with its method Forget. That is for one case:
// the tokens of the key have fallen, because the nodes lost their data or their
// fence counters were repaired (redlock nodes --repair-fences), so that the
// storage refuses every new holder. Until a newer holder has checked again, an
// old writer that is still on its way passes. End all writers of the key first,
// and let none begin before it is forgotten.
package fence
