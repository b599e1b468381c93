// Package topology runs what this module promises on every kind of node that Config of package cluster offers beside the
// single server: a master with a replica under a Sentinel, a Redis Cluster of three masters, servers that demand TLS with
// client certificates, and servers that let a user do no more than cluster.Rights names. It is made of tests only.
//
//	go test -count=1 ./internal/test/topology
//
// All three nodes of a set are of the kind in question, so that no quorum can do without it. The processes are real
// redis-servers, started by the tests; where there is no redis-server, or REDLOCK_TEST_BACKENDS is a list without
// "redis", they are skipped.
//
// On each kind: exclusion with growing tokens, waking another process, leases over many TTLs, checkpoints, elections, redsync,
// and that cancelled attempts leave nothing behind. Then what can happen to that kind: a failover, a master of a
// Redis Cluster that forgets, a certificate that is missing or not trusted, and each single right taken away.
package topology
