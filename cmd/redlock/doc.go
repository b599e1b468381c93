// Command redlock demonstrates the library, locks for shell scripts, and starts
// nodes for experiments.
//
//	redlock demo                 workers, orders, and nodes that fail, in a few seconds
//	redlock dev                  nodes on fixed loopback ports, until interrupted
//	redlock run KEY -- CMD…      a command under a lock, as flock does on one machine;
//	                             with --once, until it has succeeded once
//	redlock campaign NAME -- …   a command while leading an election
//	redlock leader NAME          the leader of an election
//	redlock fence check FILE …   a token file that refuses a script which lost its lock
//
// For operators:
//
//	redlock ls [PREFIX]          the locks that are held, their holders, ages and waiters
//	redlock inspect KEY          everything about one lock, node by node
//	redlock nodes                the state of each node
//	redlock doctor               what makes locks on these nodes unsafe, and how to fix it
//	redlock once ls|forget       the finished jobs of run --once
//	redlock release --force KEY  takes a lock away from its holder
//	redlock top                  nodes and locks, live
//	redlock bench                the throughput of these nodes, optionally next to redsync
//	redlock completion SHELL     a completion script
//
// Every command's --help describes its flags, and the exit codes where they
// matter.
//
// Each command is in the file of its name: its flags, its help, and its Run,
// which says what it prints. Files with a longer name hold a part of a command
// (run_once.go, top_picture.go); the others hold what commands share, such as
// flags.go, open.go (the connection to the nodes) and under_lease.go (a program
// that runs under a lease).
package main
