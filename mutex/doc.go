// Package mutex offers the single steps of a distributed lock, for programs
// that decide themselves when to retry and when to extend. Most programs want
// package lock, which runs functions under locks, or package lease, which holds
// keys for longer: they also renew, queue, and notify the holder of a loss.
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
// [Redsync] returns redsync mutexes on the same nodes, for code that uses
// redsync.
//
// # Guarantees
//
// Tokens are unique for a key, and an acquisition that starts after another has
// finished gets the larger token. This holds even if keys expire early and two
// processes hold the key at once, as long as the fence counters that two
// quorums share survive, or the clocks of nodes and clients agree within
// [cluster.Config.MaxTTL].
//
// At most one Mutex, lock or lease holds a key at a time, as long as fewer nodes
// lose the key unseen than package cluster tolerates ("What a quorum tolerates").
// A Mutex holds it until [Mutex.Until].
//
// Nothing outlives its TTL on a node. An attempt that fails or is cancelled
// releases what it was granted at once; a node that does not answer is sent the
// release when it recovers.
//
// # Limits
//
// A Mutex does not queue: Lock asks again at intervals, and others may be
// faster. A process that is paused after it has checked [Mutex.Until] may write
// too late. Only storage that refuses old tokens prevents that.
package mutex
