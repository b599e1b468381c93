// Package redisserver runs real redis-server processes on free loopback ports,
// for tests. The environment variable REDLOCK_TEST_SERVER names another server
// to run, such as valkey-server; Sentinels and Redis Clusters run it as well.
//
// The nodes have the method set of package embedded, so that one test can run
// on both: Stop is SIGKILL, Pause is SIGSTOP, Resume is SIGCONT. Every process
// has a directory of its own under the system's directory for temporary files;
// Close removes it. On Linux the processes die with the process that started
// them, however it ends.
//
// [Pair] and [Sharded] are nodes that consist of several servers: a master and
// a replica under a Sentinel, and a Redis Cluster.
//
// Differences to package embedded: a restart that keeps the data needs
// [Options].Persist; the commands within a script count too; a paused node
// cannot be asked for its counts. Pause and Resume need Unix.
package redisserver
