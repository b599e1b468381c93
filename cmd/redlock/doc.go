// Command redlock shows the library at work, gives shells its locks, and starts nodes to try things on.
//
//	redlock demo                 workers, orders, and nodes that fail, in a few seconds
//	redlock dev                  nodes on fixed loopback ports, until interrupted
//	redlock run KEY -- CMD…      a command under a lock, as flock does on one machine; with --once, to success once
//	redlock campaign NAME -- …   a command while leading an election
//	redlock leader NAME          who leads
//
// Every command's --help says the rest, run's also its exit codes.
package main
