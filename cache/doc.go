// Package cache keeps values on the nodes of a Cluster, for a time, so that they need not be loaded again:
//
//	users, err := cache.New(c, cache.Config[User]{Prefix: "cache:user:", TTL: 10 * time.Minute})
//	u, err := users.Fetch(ctx, "7", func(ctx context.Context) (User, error) { return db.User(ctx, 7) })
//	err = users.Delete(ctx, "7") // after the user was changed in the database
//
// MarkStale instead of Delete has the old value served while a new one is loaded. A load can set the TTL and the tags of what
// it returns, with Decide.
//
// # Where a key is
//
// On one node, its owner, by rendezvous hashing over the nodes' names (which all processes must therefore spell alike).
// While the owner is down, as this process sees it, the next in rank stands in for it, with entries of at most 10 s.
//
// # What is promised
//
// A load that began before a Delete or Set that a key's owner confirmed is not stored there after it. On a miss the owner
// gives out a lease, to one caller of the fleet, who loads while the others wait to be told; what it loaded is stored only
// if the lease still stands, and Delete and Set end it.
//
// Once the owner has confirmed a Delete, it gives nobody an older value, and a Get or Fetch that begins then and asks it
// returns none, be it from the load of somebody who asked earlier. Older values can still come
//   - to whoever asked before the Delete returned;
//   - from the memories of other processes (Config.Near), until the message of the Delete has come, or, if it is lost with
//     its connection, until that is noticed, within a second or so;
//   - from the stand-in, to a process that takes the owner for down, if the stand-in did not confirm the Delete as well:
//     for LoadTimeout, LeaseTTL and 10 s at most;
//   - from load itself, if it reads what lags behind, as a replica does. Delete when loads see the change.
//
// Nothing is served that a node kept from before its server restarted, or from before it was out of reach of the process
// that asks, as far as that noticed: it may have missed deletions. What it missed it is owed, by the process that deleted,
// and sent before anything else when it is back.
//
// A load runs once for a miss, whatever the number of callers and processes; its lease is renewed while it runs. Another
// runs after Config.LeaseTTL if the process that loads dies or stops for so long, and beside it if it has not returned after
// Config.LoadTimeout. Where the nodes can not be asked callers load by themselves, one for each process.
//
// # What is not
//
// While a key's owner can not be reached by the process that deletes, but by others, those may be served the old value,
// until the owner is told when it is back in reach, or, if the process that owes that dies, until the entry's TTL (and
// StaleFor) is over, and a load that is under way at the owner may be stored once more, before its lease ends. Delete returns
// nil then if the stand-in took it, because an owner that died must not make it fail; Stats.Owed counts these. A node that is a
// Redis Cluster, that does not tell its run_id (INFO refused), or whose replica stands in for it unnoticed can come back with
// what had been deleted, for the same time. After a Set or Delete that returned an error either may be served, the old and
// the new.
//
// # Formats
//
// An entry that another version of this package wrote in another format is none: it is loaded again. While programs of both
// run, each overwrites what the other stored. The codec's format is the program's: give another Prefix to a type that changes
// so that old values would be read as something else.
//
// New refuses another type under a Prefix that is in use in this process. It does not notice one in another process: an
// entry does not name its type, so that a type can be renamed, or get another field, while programs of both versions run, and
// programs can share values by types of their own. A value of another type is one that can not be decoded, which is loaded
// again, or, if the codec can read it all the same, as JSON does with fields it does not know, a wrong value.
//
// # Clocks
//
// Leases need none but the node's own. By the node's clock, as it was when this process last connected to it, are told the
// ages of entries (soft, hard, stale), and which are from before the node was out of reach: if a node's clock is set back
// by as much as an outage lasted, what was deleted during the outage may be served until the node is told.
package cache
