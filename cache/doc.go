// Package cache keeps values on the nodes of a Cluster, for a time, so that they need not be loaded again:
//
//	users, err := cache.New(c, cache.Config[User]{Prefix: "cache:user:", TTL: 10 * time.Minute})
//	u, err := users.Fetch(ctx, "7", func(ctx context.Context) (User, error) { return db.User(ctx, 7) })
//	err = users.Delete(ctx, "7") // after the user was changed in the database
//
// # Where a key is
//
// On one node, its owner, by rendezvous hashing over the nodes' names (which all processes must therefore spell alike).
// While the owner is down, as this process sees it, the next in rank stands in for it, with entries of at most 10 s.
//
// # What is promised
//
// A load that began before a Delete or Set is not stored after it. On a miss the owner gives out a lease, to one caller of
// the fleet, who loads while the others wait to be told; what it loaded is stored only if the lease still stands, and
// Delete and Set end it. Nor is a load given to a caller who asked after a Delete that it does not know of. So once
// Delete has returned nil, with the owner reached, nobody gets an older value.
//
// Nothing is served that a node kept from before its server restarted, or from before it was out of reach of the process
// that asks: it may have missed deletions. What it missed it is owed, by the process that deleted, and sent before
// anything else when it is back.
//
// A load runs once for a miss, whatever the number of callers and processes; again if the process that loads dies, after
// Config.LeaseTTL; and beside another if it takes longer than that. Where the nodes can not be asked callers load by
// themselves, one for each process.
//
// # What is not
//
// While a key's owner can not be reached by the process that deletes, but by others, those may be served the old value,
// until the owner is told when it is back in reach, or, if the process that owes that dies, until the entry's TTL (and
// StaleFor) is over. Delete returns nil then if the stand-in took it, because an owner that died must not make it fail;
// Stats.Owed counts these. A node that is a Redis Cluster, that does not tell its run_id (INFO refused), or whose
// replica stands in for it unnoticed can come back with what had been deleted, for the same time.
//
// Clocks matter to ages only: soft, hard and stale are told by the node's clock, as far as this process knows it.
package cache
