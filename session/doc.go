// Package session keeps sessions on a set of nodes. Sessions survive the loss
// of nodes, never return after they were destroyed, and lose no write.
//
//	store, err := session.New(c, session.Config{})
//	s, err := store.Create(ctx, "user-7", map[string]any{"cart": []string{"book"}}) // s.ID() goes into the cookie
//	s, err = store.Load(ctx, id)                    // errors.Is(err, session.ErrSessionGone): ask the user to log in
//	cart, ok, err := session.Get[[]string](s, "cart")
//	err = s.Set("cart", append(cart, "pen"))
//	err = s.Commit(ctx)
//	err = s.Renew(ctx, session.As("user-7"))        // at log-in: a new id; the old one is invalid
//	err = store.Destroy(ctx, id)
//	store.Close()
//
// # How it is kept
//
// An id is 256 random bits and never used again; nodes know only its SHA-256.
// Every node stores every session. Each operation asks all nodes and is decided
// by a quorum. While the nodes agree, Create, Load, Commit, Destroy, Renew and
// LogoutAll take one round trip each, and List takes one for each hundred
// sessions (fewer sessions if MaxSize is above 80 KiB). The first operation of
// a process takes one more, to learn which data the nodes still have.
//
// A session is a map of fields. The last write to a field wins: its version is
// above every version that the writer has seen, whatever its clock shows. A
// tombstone wins over everything. So the records of different nodes can always
// be merged. A read whose answers differ merges them, and returns once a quorum
// has the result. A deleted field also leaves a tombstone. It is dropped when
// all nodes have answered a read with it, because no node can bring the field
// back from then on.
//
// # What is promised
//
// While fewer than a quorum of nodes lose a session:
//
//   - Every Load finds what an earlier Create or Commit acknowledged, and no
//     read goes back in time.
//   - A session that Destroy, Renew or LogoutAll ended, with a nil error, is
//     never read again. Writing to it fails with [ErrSessionGone].
//   - No update that [Store.Update] makes to a field is lost.
//   - The idle deadline and the absolute deadline both hold, by the clock of
//     the process that reads.
//   - Without a quorum, every operation fails with a [*cluster.QuorumError].
//
// A node that has lost its data, because it restarted without an append-only
// file, was emptied, or recovered with a snapshot, is recognized by a mark in
// the data itself. It does not vote on older sessions until they are written to
// it again, which every Load does that it answers. If no node knows a session,
// the nodes with the oldest data decide. Nodes with an append-only file can be
// restarted one after another without losing a session; a node that syncs the
// file every second may lose its last two seconds, which the others have. A node
// that redlock resize adds counts as one that has lost its data, and one that it
// removes has; docs/membership.md says what that means for sessions.
//
// After nodes have lost their data, two things depend on the clocks of the
// processes. LogoutAll needs clocks that differ by less than the time between
// the log-in and the log-out. The mark of lost data needs clocks that differ by
// less than the Cluster's MaxTTL. A node's own clock does not matter and may
// jump by an hour: records are kept an hour longer than the session lasts, and
// tombstones a day longer.
//
// # What is not promised
//
// Without Update, a Commit is not a transaction with what was read before.
// Anyone who can write to the nodes can create and change sessions.
//
// A node cannot be a Redis Cluster: one script reads a session and the data of
// its user, which are in different slots there. [New] refuses it.
//
// # Rights
//
// With the default prefix, the servers' user needs these rights; those of the
// last line are optional, as in package cluster. [Rights] explains each, also
// for another prefix. Update needs the rights of locks as well.
//
//	ACL SETUSER redlock reset on >password
//		~session:* ~redlock:mark
//		+ping +evalsha +eval +time +get +set +del +pexpire
//		+hset +hget +hmget +hgetall +zadd +zrem +zrangebyscore +zremrangebyscore
//		+info +config|get +acl|dryrun +script|exists +script|load
package session
