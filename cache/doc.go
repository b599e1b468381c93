// Package cache keeps values on the nodes of a Cluster for a time, so that they
// need not be loaded again:
//
//	users, err := cache.New(c, cache.Config[User]{Prefix: "cache:user:", TTL: 10 * time.Minute})
//	u, err := users.Fetch(ctx, "7", func(ctx context.Context) (User, error) { return db.User(ctx, 7) })
//	err = users.Delete(ctx, "7") // after the user was changed in the database
//
// With [Cache.MarkStale] instead of [Cache.Delete] the old value is served
// while a new one is loaded. A load can set the TTL and the tags of what it
// returns, with [Cache.Decide].
//
// # Where a key is
//
// A key is on one node, its owner, by rendezvous hashing over the nodes' names
// (so all processes must spell them alike). While this process sees the owner
// down, the next node in rank stands in for it, with entries of at most 10 s.
//
// # What is promised
//
// A load that began before a Delete or Set that a key's owner confirmed is not
// stored there after it. On a miss the owner grants a fill lease to one caller
// of the fleet, which loads while the others wait for a notification. Its value
// is stored only if the lease is still valid, and Delete and Set end the lease.
//
// Once the owner has confirmed a Delete, it returns no older value, and a Get
// or Fetch that begins after that and asks it returns none, not even from a
// load of an earlier caller. Older values can still come
//   - to callers that asked before the Delete returned;
//   - from the local tiers of other processes (Config.Near), until the message of
//     the Delete has come, or, if it is lost with its connection, until that is
//     noticed, within a second or so;
//   - from the stand-in, to a process that takes the owner for down, if the
//     stand-in did not confirm the Delete as well: for LoadTimeout, LeaseTTL and
//     10 s at most;
//   - from load itself, if it reads a source that lags behind, as a replica does.
//     Delete when loads see the change.
//
// No entry is served that a node kept from before its server restarted, or from
// before the asking process could not reach it, as far as that was noticed: the
// node may have missed deletions. The deleting process keeps these pending, and
// sends them before anything else when the node is reachable again.
//
// A load runs once for a miss, whatever the number of callers and processes;
// its lease is renewed while it runs. Another load runs after Config.LeaseTTL
// if the loading process dies or pauses for that long, and beside it if it has
// not returned after Config.LoadTimeout. While the nodes can not be asked,
// callers load by themselves, one in each process.
//
// # What is not
//
// While a key's owner can not be reached by the process that deletes, but by
// others, the others may be served the old value until the owner receives the
// pending deletion, or, if the deleting process dies, until the entry's TTL
// (and StaleFor) is over; and a load under way at the owner may be stored once
// more, before its lease ends. Delete returns nil in this case if the stand-in
// confirmed it, because an owner that died must not make it fail; Stats.Owed
// counts these. The same holds for a node that recovers with deleted data
// unnoticed: a Redis Cluster, a server that does not report its run_id (INFO
// refused), or one whose replica took over. After a Set or Delete that returned
// an error either value may be served, the old or the new.
//
// # Formats
//
// An entry that another version of this package wrote in another format is
// none: it is loaded again. While programs of both versions run, each
// overwrites what the other stored. The codec's format is the program's: give
// another Prefix to a type that changes so that old values would be read as
// something else.
//
// New refuses another type under a Prefix that is in use in this process. It
// does not notice one in another process: an entry does not name its type, so
// that a type can be renamed, or get another field, while programs of both
// versions run, and programs can share values by types of their own. A value of
// another type is one that can not be decoded, which is loaded again, or, if
// the codec can read it all the same, as JSON does with fields it does not
// know, a wrong value.
//
// # Clocks
//
// Leases need no clock but the node's own. The node's clock, as it was when
// this process last connected to it, decides the ages of entries (soft, hard,
// stale), and which of them are from before the node was unreachable: if a
// node's clock is set back by as much as an outage lasted, what was deleted
// during the outage may be served until the node receives the deletion.
package cache
