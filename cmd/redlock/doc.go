// Command redlock shows the library at work, gives shells its locks, and starts nodes to try things on.
//
//	redlock demo                 workers, orders, and nodes that fail, in a few seconds
//	redlock dev                  nodes on fixed loopback ports, until interrupted
//	redlock run KEY -- CMD…      a command under a lock, as flock does on one machine; with --once, to success once
//	redlock campaign NAME -- …   a command while leading an election
//	redlock leader NAME          who leads
//	redlock fence check FILE …   a token file that refuses a script which lost its lock
//
// For the person who looks after the locks:
//
//	redlock ls [PREFIX]          which locks are held, by whom, since when, and who waits
//	redlock inspect KEY          all of one lock, node by node
//	redlock nodes                how each node does
//	redlock doctor               what makes locks on these nodes unsafe, and how to fix it
//	redlock once ls|forget       the jobs of run --once that are done
//	redlock release --force KEY  takes a lock away from its holder
//	redlock top                  nodes and locks, live
//	redlock bench                what these nodes can carry, beside redsync if you like
//	redlock completion SHELL     a completion script
//
// Every command's --help says the rest, run's also its exit codes.
package main
