// Package cache stores values on the nodes of a Cluster, so that a whole fleet
// loads each of them only once:
//
//	users, err := cache.New(c, cache.Config[User]{Prefix: "cache:user:", TTL: 10 * time.Minute})
//	u, err := users.Fetch(ctx, "7", func(ctx context.Context) (User, error) { return db.User(ctx, 7) })
//	err = users.Delete(ctx, "7") // after the user was changed in the database
//
// With [Cache.MarkStale] instead of [Cache.Delete], the old value is served
// while a new one is loaded. A load can set the TTL and the tags of its value
// with [Cache.Decide].
//
// # Where a key is
//
// A key is stored on one node, its owner, which is chosen by rendezvous hashing
// over the nodes' names. So all processes must spell the names alike. While the
// owner is down for this process, the next node in rank stands in for it, with
// entries of at most 10 s.
//
// # What is promised
//
// After a key's owner has confirmed a Delete or Set, no load that began earlier
// is stored there. On a miss, the owner grants a fill lease to one caller in
// the fleet, which loads the value while the others wait for a notification.
// The value is stored only if the lease is still valid, and Delete and Set end
// the lease.
//
// After the owner has confirmed a Delete, it returns no older value. A Get or
// Fetch that begins later and asks the owner returns none either, not even from
// the load of an earlier caller. Older values can still come
//   - to callers that began before the Delete returned;
//   - from the local tiers of other processes ([Config.Near]), until the
//     message of the Delete has arrived, or, if it is lost with its connection,
//     until that is noticed, which takes about a second;
//   - from the stand-in, to a process for which the owner is down, if the
//     stand-in did not confirm the Delete as well: for at most the sum of
//     LoadTimeout, LeaseTTL and 10 s;
//   - from load itself, if it reads a source that lags behind, such as a
//     replica. Call Delete once loads see the change.
//
// Entries from before a restart of the node's server, or from before a time
// when this process could not reach the node, are not served, because the node
// may have missed deletions. The deleting process keeps these pending, and
// sends them first when the node is reachable again.
//
// A load runs once for a miss, whatever the number of callers and processes;
// its lease is renewed while it runs. If the loading process crashes or pauses,
// another load runs after [Config.LeaseTTL]. If a load has not returned after
// [Config.LoadTimeout], another one may run at the same time. While the nodes
// cannot be asked, one caller in each process loads.
//
// # What is not promised
//
// If the process that deletes cannot reach a key's owner, but others can, they
// may be served the old value until the owner receives the pending deletion or,
// if the deleting process crashes, until the entry's TTL and StaleFor are over.
// A load in progress at the owner may also be stored once more before its lease
// ends. Delete returns nil in this case if the stand-in confirmed it, because
// the failure of an owner must not make it fail; [Stats].Owed counts these
// deletions.
//
// The same holds for a node that recovers deleted data unnoticed: a Redis
// Cluster, a server that does not report its run_id (INFO refused), or one
// whose replica was promoted. After a Set or Delete that returned an error, the
// old or the new value may be served.
//
// # Formats
//
// An entry that another version of this package wrote in another format is
// treated as missing and loaded again. While programs of both versions run,
// each overwrites the entries of the other. The program is responsible for the
// codec's format: if a type changes so that old values would be misread, give
// it another Prefix.
//
// [New] refuses another type under a Prefix that is in use in this process. It
// cannot notice this in other processes. An entry does not name its type, so
// that a type can be renamed or get another field while programs of both
// versions run, and so that programs can share values with types of their own.
// A value of another type is loaded again if it cannot be decoded. If the codec
// accepts it, as JSON does with unknown fields, it is a wrong value.
//
// # Clocks
//
// Leases depend only on the node's clock. That clock, as of this process's last
// connection, also decides the ages of entries (soft, hard, stale), and which
// entries are older than an outage of the node. If a node's clock is set back
// by as much as an outage lasted, entries that were deleted during the outage
// may be served until the node receives the deletion.
package cache
