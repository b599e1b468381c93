// Package embedded runs Redis nodes inside the calling process, on loopback
// addresses, without a Redis installation. It is made for demos, for
// examples, and for the tests of programs that use redlock.
//
// The nodes have the commands of [miniredis]. They speak the Redis protocol
// over TCP, execute one command at a time in the order of arrival, run Lua
// scripts, support pub/sub, and let keys expire in real time, so every Redis
// client can use them:
//
//	nodes, err := embedded.Start(3)
//	if err != nil {
//		return err
//	}
//	defer nodes.Close()
//	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs()})
//
// # Making a node fail
//
// Each node can be made to fail in the ways in which a Redis process fails:
//
//   - [Nodes.Stop] kills it: connections break, new ones are refused.
//   - [Nodes.Restart] starts it again on its address, with its data or without.
//     As with a Redis process, the run_id is new, the uptime starts at zero,
//     and cached scripts are lost.
//   - [Nodes.Pause] freezes it: connections and commands are still accepted,
//     but nothing is executed or answered until [Nodes.Resume]. Then the
//     accepted commands are executed in the order of their arrival on all
//     connections, including commands whose client has disconnected in the
//     meantime.
//
// A frozen node reads up to about a megabyte from each connection; further data
// waits in the network. A blocking command (BLPOP and its like) that began to
// wait before the freeze may still time out and answer during it.
//
// [Nodes.Commands] counts the commands of a node, for tests that bound the load
// on the nodes.
//
// # What the nodes answer
//
// Everything that miniredis supports, and what programs ask a Redis about
// itself: INFO in the format of Redis 7 (sections server, clients, memory,
// persistence, stats and replication), CONFIG GET for the settings that decide
// whether a node keeps its data, CLIENT SETINFO, ID, LIST and PAUSE. INFO and
// CONFIG within MULTI are answered at once instead of being queued.
//
// # Limits
//
// Nothing is stored on disk: data lives as long as the [Nodes], and a restart
// that keeps the data gives the new node the same memory. The nodes share the
// clock of the process, so their clocks cannot differ. There are no passwords,
// no TLS, no replication, no eviction and no memory limit; addresses other than
// loopback are refused. Tests that depend on any of these need real Redis
// servers.
//
// Expiry is exact, but every command walks over the keys that have a TTL. On
// miniredis v2.40.0, a command took about 41 µs on a node with 100 keys and 367
// µs on one with 2,000. Do not use the nodes for load tests.
//
// [miniredis]: https://pkg.go.dev/github.com/alicebob/miniredis/v2
package embedded
