//go:build unix

// Command benchmarks measures this module beside other lock libraries for Go: in turns, in one run, on the same
// redis-server processes, which it starts and ends itself.
//
//	go -C benchmarks run .                      # everything; a table of figures and ratios
//	go -C benchmarks run . --only hot,solo --duration 1s --rounds 1
//	go -C benchmarks run . --write ../docs      # the same into performance.md and performance.svg
//
// Every figure is the median of the rounds; within a round the libraries take turns, so that a machine that gets slower or
// faster meets them all alike. While it measures, the program checks that no two holders of a key overlap and that
// tokens grow; a run in which they do not ends with exit code 1. An operation that has not ended 20 seconds after its turn
// has failed.
//
// # Who is measured
//
//	redlock           this module: Locker.WithLock on five nodes, fencing tokens and renewal included
//	redsync           go-redsync/redsync on the same five nodes, its defaults, tries without end
//	redsync fail-fast the same WithFailFast(true): it returns at the quorum
//	rueidislock       on one node, a majority of five keys; its unlocking returns before the keys are gone
//	redislock         bsm/redislock on one node, LinearBackoff(5ms)
//	ceiling           the acquire and release scripts of this module on five nodes, pipelined in batches of 512, without
//	                  anything that makes a lock of them
//
// The last three do not do the same work: one node is no majority of independent nodes, and the ceiling is no lock.
package main
