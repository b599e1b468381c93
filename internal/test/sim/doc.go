// Package sim runs the library, go-redis included, on in-memory nodes in virtual time, under faults that are all drawn
// from one seed. It is made for tests: what it says is in its tests, and in `make sim`.
//
// # What is simulated
//
// A world is one set of one to seven nodes, a few processes with a few workers each, and a few keys they all want, one at
// a time or several; in half of the worlds, some of them to read. The nodes speak the protocol, run the library's own Lua scripts and expire keys as Redis does, each
// by a clock of its own: apart from true time, and faster or slower by less than the margin allows. Connections carry
// packets with delays that differ to the nanosecond. The whole lives in a testing/synctest bubble, so that a minute passes
// in milliseconds.
//
// The faults: packets that are slow, or so late that their sender has given up on them; packets that never arrive, and
// with them everything behind them on their connection; commands that a node gets a second time, up to two seconds later;
// nodes that crash and come back with their memory, with an old snapshot or with none; nodes that freeze and then execute
// what they were sent; sets of which all nodes restart, one of them without its memory, just before a process meets them
// for the first time; nodes that sync every write and come back empty; nodes that come back empty with a clock an hour slow,
// which is set right then; nodes that were a replica of another for a moment; names that lead to another server while the old
// one runs on, with connections to it; clients cut off from some nodes in either direction, whose packets arrive when the cut heals;
// clients that lose their connections to some nodes, and what those publish meanwhile; nodes that answer scripts wrongly,
// though never that something was done, and send wakes and announcements that nothing is behind; clients that stand
// still, their network and their work, and then go on as if nothing had been; processes that end, by Close, and start
// anew, or are killed, so that no node hears of it; contexts that are cancelled at any moment.
//
// In a few worlds, which last longer, the set is resized meanwhile, from one node up to five and back, by the command's own
// code: it is killed at any moment and started again, a second one runs beside it at times, and when it asks for that, one
// process after another ends and starts with the new list.
//
// # What is checked
//
// At every step, which is an acquisition, a write, a loss or a command on a node:
//
//   - tokens of a key are given once, but for those of readers, and an acquisition that began after another had finished has the larger one;
//   - when a key is acquired, no other holder's context stands, unless both read;
//   - a holder is notified of its loss before its deadline;
//   - the store, which refuses tokens older than the newest it saw, and a writer's that is not above those of readers, never takes
//     an older one and never refuses a holder;
//   - a checkpoint that was kept is the oldest that a later lease finds, in worlds where no node forgets;
//   - fence counters never go back while a node lives.
//
// When the faults have ended and the quarantine is over, every process gets every key; and one TTL after the last
// process has ended no node has a lock key left, and no goroutine is. A resize ends within a minute. Before that, some worlds
// play a scene: while one process hands a key over among its workers, a process loses its connections for a moment and others begin to wait,
// which are served soon; or the first process in the queues is stopped, which hardly slows the others down; or all nodes lose
// everything under a holder, and a process that has met none of them opens the set right then; or a process has a list that
// is not that of the set, and is refused.
//
// # What is not
//
// A process cannot be stopped between two of its instructions: the library's own timers run while its network and its
// work stand still. But for that scene, never do all nodes forget within one quarantine, nor a quorum of a new set. Redis itself is not
// here: the commands are those the scripts use, and a test makes the same random calls of the scripts on a node and on a
// real server, if there is one; real servers under faults are for the chaos tests. A subscription is made in no time,
// because go-redis holds a mutex meanwhile. Virtual time cannot show what is slow.
//
// # The same again
//
// The same seed gives the same trace, in one process and with one processor: randomness of the library comes from
// sources that a test seeds. What the runtime itself leaves open, which of two goroutines goes first at one instant, is
// why every delay differs.
package sim
