// Package mutex works a distributed lock by hand, one step at a time, for
// programs that decide themselves when to retry and when to extend. Most programs
// want package lock, which runs functions under locks, or package lease, which
// keeps locks alive: they also renew, queue and notify the holder of a loss.
//
//	m, err := mutex.New(c, "order:42", mutex.Config{})
//	if err != nil {
//		return err
//	}
//	if err := m.Lock(ctx); err != nil {
//		return err
//	}
//	defer m.Unlock(ctx)
//	return db.Ship(ctx, 42, m.Token()) // before m.Until(), or call m.Extend
//
// [Redsync] gives code that uses redsync mutexes on the same nodes.
//
// # Guarantees
//
// Tokens are unique for a key, and an acquisition that starts after another has
// finished gets the larger token. This holds even if keys expire early and two
// processes hold the key at once, as long as the fence counters that two quorums
// share survive, or the clocks of nodes and clients agree within Config.MaxTTL of
// the Cluster.
//
// At most one Mutex, lock or lease holds a key at a time, as long as fewer nodes
// lose the key unseen than package cluster tolerates ("What a quorum tolerates").
// A Mutex holds it until [Mutex.Until].
//
// Nothing outlives its TTL on a node. What was granted to an attempt that failed
// or was cancelled is released at once, and on a node that does not answer as
// soon as it answers again.
//
// # Limits
//
// A Mutex does not queue: a Lock that waits asks again at intervals, and others
// may be faster. A process that is paused between looking at Until and writing
// writes late. Only a storage that refuses old tokens prevents that.
package mutex
