// Package embedded runs Redis nodes inside the calling process, on loopback
// addresses, without a Redis installation. It is made for demos, for
// examples, and for the tests of programs that use redlock.
//
// The nodes have the commands of [miniredis]. They speak the Redis protocol over
// TCP, execute one command at a time in the order of arrival, run Lua scripts,
// carry pub/sub, and let keys expire in real time, so every client that can talk
// to Redis can talk to them:
//
//	nodes, err := embedded.Start(3)
//	if err != nil {
//		return err
//	}
//	defer nodes.Close()
//	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs()})
//
// # Hurting a node
//
// Each node can be made to fail the ways a Redis process fails:
//
//   - [Nodes.Stop] kills it: connections break, new ones are refused.
//   - [Nodes.Restart] starts it again on its address, with its data or
//     without. As with a Redis process the run_id is a new one, the uptime
//     starts at zero, and cached scripts are gone.
//   - [Nodes.Pause] freezes it: connections are still accepted and commands
//     are still taken, but nothing is executed or answered until
//     [Nodes.Resume]. Then what was taken is executed one command after
//     another in the order of arrival over all connections, including
//     commands whose client has gone away in the meantime.
//
// A frozen node takes up to about a megabyte from each connection; what a client
// sends beyond that waits in the network. A blocking command (BLPOP and its
// like) that began to wait before the freeze may still time out and answer
// during it.
//
// [Nodes.Commands] counts what a node was asked, for tests that bound the load
// on the nodes.
//
// # What the nodes answer
//
// Everything miniredis does, plus what programs ask of a Redis to learn what it
// is: INFO in the format of Redis 7 (sections server, clients, memory,
// persistence, stats and replication), CONFIG GET for the settings that decide
// whether a node keeps its data, CLIENT SETINFO, ID, LIST and PAUSE. INFO and CONFIG
// within MULTI are answered at once instead of being queued.
//
// # What the package is not
//
// Nothing is kept on disk: data lives as long as the [Nodes], and a restart
// that keeps the data hands the same memory to the new node. The nodes share
// the clock of the process, so one node's clock cannot be set apart from the
// others. There are no passwords, no TLS, no replication, no eviction and no
// memory limit; addresses other than loopback are refused. What depends on any
// of these needs real Redis servers.
//
// Expiry is exact and paid for by each command: every command walks over the
// keys that have a TTL. Measured on miniredis v2.40.0, a command took about
// 41 µs on a node with 100 keys and 367 µs on one with 2,000. The nodes are no
// place for load tests.
//
// [miniredis]: https://pkg.go.dev/github.com/alicebob/miniredis/v2
package embedded
