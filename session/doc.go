// Package session keeps sessions on a set of nodes: they survive the loss of
// nodes, never come back after they were destroyed, and lose none of what is
// written to them.
//
//	store, err := session.New(c, session.Config{})
//	s, err := store.Create(ctx, "user-7", map[string]any{"cart": []string{"book"}}) // s.ID() goes into the cookie
//	s, err = store.Load(ctx, id)                    // errors.Is(err, session.ErrSessionGone): log in again
//	cart, ok, err := session.Get[[]string](s, "cart")
//	err = s.Set("cart", append(cart, "pen"))
//	err = s.Commit(ctx)
//	err = s.Renew(ctx, session.As("user-7"))        // at log-in: a new id, and the old one is worth nothing
//	err = store.Destroy(ctx, id)
//	store.Close()
//
// # How it is kept
//
// An id is 256 random bits and never used again; nodes know its SHA-256 only.
// All nodes hold a session, and each step asks all of them and takes a quorum
// for an answer. Create, Load, Commit, Destroy, Renew, List and LogoutAll each
// are one round trip where the nodes agree, List one for each hundred sessions
// (fewer if MaxSize is above 80 KiB); the first step of a process takes one
// more, to find out which data the nodes still have.
//
// A session is a map of fields. The last writer of a field counts, by a version
// above every version that the writer has seen, whatever its clock says; a
// tombstone wins over everything. So the records of nodes can be merged without
// asking anybody. A read whose answers disagree merges them, and waits until a
// quorum has what it returns. A deleted field leaves a tombstone too, which is
// dropped when all nodes have answered a read with it: from then on no node can
// bring the field back.
//
// # What is promised
//
// While fewer than a quorum of nodes lose a session:
//
//   - What Create or Commit acknowledged is found by every Load from then on, and
//     no read goes backwards.
//   - A session that Destroy, Renew or LogoutAll ended, with a nil error, is never
//     read again. Writing to it is ErrSessionGone.
//   - Update loses none of the updates of a field.
//   - Idle and absolute deadline both hold, by the clock of the process that looks.
//   - Below a quorum nothing is answered but *cluster.QuorumError.
//
// A node that has lost its memory, because it restarted without an append-only
// file, was emptied, or recovered with a snapshot, is recognised by a mark in
// the memory itself. It does not vote on sessions older than that until they
// are written to it again from the others, as every Load does that it answers.
// Where no node knows a session, the nodes with the oldest data decide. Nodes
// that keep an append-only file can be restarted one after the other, and no
// session is lost; one that syncs it every second may lose its last two
// seconds, which the others have.
//
// After nodes lost their data, LogoutAll relies on clocks of processes that
// differ by no more than the time between the log-in and it; the mark of a lost
// memory relies on Cluster's MaxTTL for the same. A node's own clock does not
// matter, and may jump by an hour: records are kept an hour longer than the
// session lasts, and tombstones a day.
//
// # What is not
//
// Fields that are committed without Update are not a transaction with what was
// read before. Everybody who can write to the nodes can make sessions.
//
// A node can not be a Redis Cluster: one step looks at a session and at what is
// known of its user, which are in different slots there, and only the session
// says which user that is. New refuses it.
//
// # Rights
//
// A user of the servers for sessions with the default prefix needs these rights
// (see package cluster for the last line; Rights says what each is for, and for
// another prefix); Update needs those of locks besides:
//
//	ACL SETUSER redlock reset on >password
//		~session:* ~redlock:mark
//		+ping +evalsha +eval +time +get +set +del +pexpire
//		+hset +hget +hmget +hgetall +zadd +zrem +zrangebyscore +zremrangebyscore
//		+info +config|get +script|exists +script|load
package session
