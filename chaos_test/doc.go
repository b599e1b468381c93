// Package chaos attacks what this module promises, on real Redis nodes, with several client processes. It is made of
// tests only; their machinery is in internal/test/chaos.
//
//	go test -count=1 ./chaos_test
//	REDLOCK_CHAOS_ROUND=full go test -count=1 ./chaos_test
//	go test -count=1 ./chaos_test -run 'Scenarios//a_node_freezes' -v
//
// # Rounds
//
// A short round, the default, is a handful of rows: a node crashes and loses its data, freezes, is cut off, is emptied by hand,
// and a client is killed and stopped. A full round is all rows. It runs where REDLOCK_CHAOS_ROUND asks for it, where
// REDLOCK_CHAOS_DURATION asks for many rounds, and where -run names rows, so that every row can be named.
//
// # What runs
//
// A scenario is a row of the table in scenarios_test.go: which faults, for how long, on nodes that keep or forget their data.
// For each row five nodes are started, and three client processes, which are this test binary run again. The faults and
// the traffic are drawn from one seed. Every client works under WithLock on hot and on cold keys, keeps leases for up to four
// times their TTL while others wait for them, makes checkpoints under them and goes on from those it finds, campaigns in an
// election, observes it and asks who leads, gives up waiting, has contexts cancelled, and reads and writes, under its fencing
// token, a store that the test keeps and that refuses older tokens.
//
// Beside that it reads keys under lock.Shared and writes them without: 90, 50 and 70 of 100 attempts read. It holds slots of
// keys under lock.Limit, of three and of two. One of each is held for up to one and a half TTLs, and half of the writers of the
// former become readers then. Readers look twice at a version that writers raise.
//
// Meanwhile nodes crash with and without their memory (without it, an empty server takes their place), freeze, are cut off
// in one direction or both, with what was on its way lost or delivered late (so that a reply is lost and its write has
// landed), become slow in one direction or both, and lose their connections; servers run out of memory, take the right to
// run scripts away, let no new client in, ask for another password, and forget all scripts; the fence counters of a node are lifted to
// a year ahead or near their end; a node, or two, are emptied by hand; a node loses the
// end of its append-only file, or its disk is full, so that it refuses to write or ends; the clock of a node jumps by 10 s
// and back, and the clocks of all drift; a client is cut off from a
// minority while another node forgets, or from a majority, is killed, or is stopped for longer than its TTL; all nodes are
// restarted one after another.
//
// In two rows the set is resized meanwhile by the code of redlock resize, which is killed at times and made again: one node grows to
// five and shrinks to three, and nodes of five are replaced. The clients are restarted with the new list when that is asked for:
// ended, killed, or with the new one started first.
//
// Every client reaches every node through a proxy in the test's process, because a partition cuts off some clients and
// not others. Freezing and crashing are done to the nodes themselves.
//
// # What is judged
//
// Clients report each step with the machine's monotonic clock, which is the same for all processes. From that:
//
//   - a token is given once for a key, and an acquisition that began after another had finished has the larger one. For
//     slots, that is the one of the same slot. Readers share tokens: none is below that of a writer before it, and that of a
//     later writer is larger
//   - the times in which two clients believe to have one key do not overlap, unless both read it or have different slots
//   - no key has more holders than its limit, nor a slot beyond it
//   - a reader sees the version of its key stay as it is while it holds it
//   - the store accepts nothing with a token older than one it has seen, and nothing of a writer with a token that a reader
//     has shown; a read returns the last version written, and no update is lost
//   - a lease begins with the newest checkpoint that was acknowledged or that a lease before it began with, or a newer
//     one, unless a quorum of nodes forgot since
//   - it never begins with one that nobody had made, or that a holder asked for after a lease had overtaken it
//   - no observer sees an older leader after a newer one, no question for the leader is answered with one older than that
//     which led when it was asked, and nobody is seen to lead who did not campaign
//   - an observer sees who leads for its TTL and 1.5 s while no fault lasts, and everybody sees the last leader
//   - no error is returned that a fault does not explain
//   - when the faults are over, every client gets every key once more
//   - one TTL after the last operation no lock is left on any node, one MaxTTL after it nothing but fence counters
//     and records, and nothing ever lives for ever but the mark that every node has
//   - all of it together has a sequential explanation (porcupine): as a lock that readers may share, for each key and slot,
//     with a register of versions, and as a semaphore, for each key with a limit
//   - while a client is stopped the others acquire hot keys, keys that readers share and slots, once its keys have expired
//   - clients did acquire, also while faults lasted; readers of two clients held a key at the same time, and all slots were taken
//   - while the set is resized somebody acquires a key within a TTL and a second, unless a fault leaves no quorum
//
// # Verdicts
//
// A slow machine is not a violation. How late the timers of the test's process and of every client fire, how long their
// threads wait for a processor, and how long round trips to every node take on links without faults is measured all the
// time, except while a fault has stopped that client or has hurt that node. A row ends in one of these:
//
//   - violated: safety was broken, or there was an error other than a time-out that nothing explains. That fails the test on
//     every machine, and is judged in every run, also in one that was cut short.
//   - missed: progress was not made in time on a machine that was fine. That fails the test as well.
//   - inconclusive: progress was not made in time while the machine was slow. The row is repeated once with the same seed,
//     if -timeout leaves room for it; if that is inconclusive too, the row is skipped, with a message that begins
//     "inconclusive: the machine was too slow to judge".
//
// Progress is what has a bound in real time: that keys are acquired after the faults and at all, that observers see leaders,
// that servers, containers and clients start and end, that time-outs have their faults, that a key is gone in time, and that
// porcupine decides. A key that will live for longer than any may is a violation, and so is all else above.
//
// A node that is emptied by hand forgets without a restart, so nobody can know; in those rows two clients may have a key at
// one time, up to a TTL after it, and a checkpoint may be gone. So may two clients have a key where the clock of a node
// jumps by more than the margin, and a checkpoint be gone where an append-only file that is not synced with every write
// loses its end. Everything else is judged there too.
//
// A client that did not run cannot know that it lost a key. Each watches its own clock, reports when it stood still for longer than
// 15 ms, and a belief that outlives its lease in such a time is excused, and counted. The token is what stands between
// such a client and the store.
//
// # Nodes
//
// Where a Docker engine answers the nodes are containers, made from the machine's own redis-server without any registry;
// otherwise, and in the round of make test, they are child processes; without redis-server the scenarios are skipped. A line
// at the start says which.
// Clocks of nodes take libfaketime, and full disks of child processes Linux and root; without these the rows are skipped and
// say why, but without libfaketime they fail where REDLOCK_TEST_BACKENDS asks for real nodes. Some servers crash behind
// libfaketime; that is tried once, and then the rows are skipped in any case.
// Containers carry labels; those of a run that ended without removing them are removed by the next, others' never.
//
// # Variables
//
//	REDLOCK_CHAOS_ROUND      "short" or "full", see above.
//	REDLOCK_CHAOS_SEED       the seed of the first round, as a failing run prints it. It repeats traffic and faults, not
//	                         how the machine schedules them. Default: random.
//	REDLOCK_CHAOS_DURATION   go on with rounds at further seeds for this long, such as 30m; full ones, unless
//	                         REDLOCK_CHAOS_ROUND says otherwise. Give -timeout as well.
//	REDLOCK_CHAOS_NODES      "docker" or "processes": these, or fail.
//	REDLOCK_TEST_IMAGE       an image with redis-server to use in place of the machine's. It is pulled if it is missing.
//	REDLOCK_TEST_BACKENDS    a list without "redis" skips the scenarios.
//
// A failing row prints what broke, violations first, then where its files are, then how to repeat it. The files are
// history.json and history.html, with the faults drawn in, findings.log and clients.log, in the artifact directory (go test
// -artifacts) or in a temporary one. With -v a table of all rows follows the last round, also of rounds that passed.
//
// # What is not covered
//
// A client's clock that jumps: Go asks the kernel for the time past libc, which is where libfaketime sits (tried, also with
// cgo). What a lease makes of a wall clock and a monotonic clock that part is tested in package keepalive, in
// TestRenewal_AnExpiredDeadlineOfEitherClockEndsTheLease and its neighbours.
//
// Nodes that are a Sentinel-managed pair or a Redis Cluster, TLS, and users with few rights are tested in internal/test/topology.
// Two nodes never forget within one MaxTTL: that is more than is promised for a client that starts just then.
package chaos
