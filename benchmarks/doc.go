//go:build unix

// Command benchmarks measures this module on five redis-server processes, which
// it starts and ends itself: beside other lock libraries for Go, or beside
// another revision of this module.
//
//	go -C benchmarks run .                      # all libraries and workloads
//	go -C benchmarks run . --only hot,solo --duration 1s --rounds 1
//	go -C benchmarks run . --write ../docs      # also into performance.md and performance.svg
//	go -C benchmarks run . --base HEAD~1        # the working tree and its parent commit
//	go -C benchmarks run . --base v1.0.0 --only solo --fail-slower
//
// Each turn has servers and client processes of its own, so that no turn
// profits from what another one left behind. Every figure is the median of the
// rounds. Within a round the contenders take turns, so that a machine that gets
// slower or faster affects them alike.
//
// During a turn the program checks that no two holders of a key overlap, but for
// modes that let them, and that tokens grow. If this module fails that, the
// program ends with exit code 1. An operation that has not ended 20 seconds after
// its turn has failed.
//
// client CPU/op is the processor time of the client processes, server CPU/op
// that of all five servers by INFO cpu (used_cpu_sys and used_cpu_user), both
// divided by the number of operations. A frozen node is not counted.
//
// # Other libraries
//
//	redlock           this module: Locker.WithLock on five nodes, fencing tokens and renewal included
//	redsync           go-redsync/redsync on the same five nodes, its defaults, tries without end
//	redsync fail-fast the same WithFailFast(true): it returns at the quorum
//	rueidislock       on one node, a majority of five keys; its unlocking returns before the keys are gone
//	redislock         bsm/redislock on one node, LinearBackoff(5ms)
//	ceiling           the acquire and release scripts of this module on five nodes, pipelined in batches of 512,
//	                  without a lock around them
//
// The last three do less work: one node is no majority of independent nodes,
// and the ceiling is no lock.
//
// # Modes
//
//	go -C benchmarks run . --only modes --duration 1s --rounds 3 --write ../docs
//
// The workloads whose names begin with "modes" measure the modes of a lock beside
// what does the same without them. They are part of every run without --only, which
// they lengthen by four minutes at the default duration, and have a section of
// their own in performance.md: --write replaces only the sections of which
// something was measured.
//
//	redlock, shared    WithLock with Shared for the operations that only read
//	redlock, limit 8   Lock with Limit(8)
//	x/sync/semaphore   golang.org/x/sync/semaphore in the process, with the same limit
//	redlock, 8 keys    WithLocks: each operation locks eight free keys, as one lock
//	redlock, retained  WithLock with Config.Retain of a second
//	round trip         PING to five nodes, until three have answered; no lock
//
// Readers may overlap with readers, and as many holders as the limit with each
// other, each in a slot of its own. Tokens of readers are not below that of an
// earlier writer; those of a key with a limit are unique, and grow in each slot.
//
// # Two revisions
//
// With --base REV the program compiles its driver twice: against the library of
// the working tree, uncommitted changes included, and against that of the
// revision, which it unpacks into a temporary directory. Driver and
// dependencies are those of the working tree in both, so that only the library
// differs; a dependency is newer where the revision requires it. If the API has
// changed so that the driver does not compile against the revision, the driver
// of the revision itself is used, and the report says so.
//
// The turns follow each other as base, new, base, new, …, base. Each turn of
// the new library is compared with the geometric mean of the two turns of the
// base around it, which cancels a steady drift of the machine; the ratios of
// two consecutive turns of the base (A/A) are the noise. A row is slower or
// faster (for costs: costlier or cheaper) if all pairs differ in one direction
// and their median by more than 2 % and by more than the widest A/A ratio. With
// 5 rounds, chance alone makes a row slower in about one of 400; use
// --rounds 9 where that matters, and never fewer than 3.
//
// The exit code is 0 whatever the verdicts are, unless --fail-slower is given.
package main
