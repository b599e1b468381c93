// Package topology tests the promises of this module on every kind of node that Config of package cluster supports
// besides a single server: a master with a replica under a Sentinel, a Redis Cluster of three masters, servers that
// demand TLS with client certificates, and servers that grant a user only the rights in cluster.Rights. It contains
// only tests.
//
//	go test -count=1 ./internal/test/topology
//
// All three nodes of a set are of the same kind, so that every quorum consists of it. The processes are real
// redis-servers, which the tests start. Without redis-server, or if REDLOCK_TEST_BACKENDS is a list without "redis",
// the tests are skipped.
//
// For each kind, the tests cover exclusion with growing tokens, notification of other processes, leases over many TTLs,
// checkpoints, elections, redsync, and cancelled attempts, which must leave nothing behind. Then they cover the faults
// of that kind: a failover, a master of a Redis Cluster that loses its data, a missing or untrusted certificate, and
// the loss of each single right.
package topology
