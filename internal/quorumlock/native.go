package quorumlock

import (
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// How a free key is acquired without a script.
//
// A caller's first look at a key that was free lately is sent as a transaction,
// which costs a node less than half of what the script does:
//
//	PEXPIRE lock  <a century> NX  a key without a TTL, which a person has set, gets one that outlasts it
//	MSETNX  lock  <value> queue "" sets both or none
//	PEXPIRE lock  <ttl> NX        changes only what MSETNX has set: every other key has a TTL by now
//	PEXPIRE queue -1 NX           deletes only what MSETNX has set: a queue has a TTL
//	INCRBY  fence <block>
//	PEXPIRE fence <retention> NX  a counter that was lost starts here, and must not stay for ever
//
// It grants the key exactly where the script would find neither a holder nor a
// queue. Elsewhere it changes nothing but the counter, and the TTL of a key that
// had none. A process for which the key is reserved stands in the queue, so
// reservations are respected as well.
//
// An answer that is not a clean grant is followed by the script, on the same node
// and for the same value. The script draws from the counter again, even where the
// key is this attempt's already, and refuses, queues and announces as usual.
//
// A number that INCRBY reports below the node's fence floor comes from a counter
// that was lost, and is no vote. Transactions do not renew the TTL of a counter:
// scripts keep it for longer than FenceRetention, and transactions are sent only
// for that much longer after a script (see sightings). search_test.go searches
// transactions beside scripts, and beside the clients of earlier versions.

// aCentury in ms stands for never, see [timeLeft]. Servers allow longer TTLs.
const aCentury = 100 * 365 * 24 * 3600 * 1000

// transaction is the acquisition of this attempt as a transaction.
func (h *Hold) transaction() nodeset.Command {
	keys := namesOf(h.lock)
	lock, fence, queue := &keys[0], &keys[1], &keys[2]
	return nodeset.Transaction(
		[]any{"pexpire", lock, int64(aCentury), "nx"},
		[]any{"msetnx", lock, &h.value, queue, ""},
		[]any{"pexpire", lock, h.r.keptFor(h.ttl), "nx"},
		[]any{"pexpire", queue, -1, "nx"},
		[]any{"incrby", fence, &h.block},
		[]any{"pexpire", fence, h.r.words.retention, "nx"},
	)
}

// transacted is what a transaction left on a node.
type transacted struct {
	clean   bool  // as it should be, whether it granted the key or not
	granted bool  // the key was set
	fence   int64 // the counter
}

func readTransaction(reply any) (t transacted) {
	words, _ := reply.([]any)
	if len(words) != 6 {
		return t
	}
	set, ok1 := words[1].(int64)
	lasts, ok2 := words[2].(int64)
	unguarded, ok3 := words[3].(int64)
	fence, ok4 := words[4].(int64)
	_, ok5 := words[5].(int64)
	t.granted, t.fence = set == 1, fence
	t.clean = ok1 && ok2 && ok3 && ok4 && ok5 && set == lasts && set == unguarded && (set == 0 || set == 1)
	return t
}

// nativeAcquirer receives the answers to transactions.
type nativeAcquirer Hold

func (a *nativeAcquirer) Receive(n *nodeset.Node, reply any, err error) {
	h := (*Hold)(a)
	switch {
	case nodeset.Refused(err):
		n.TransactionRefused(err)
		h.askAgain(n, true)
		return
	case err != nil:
		h.take(n, false, grant{}, err)
		return
	}
	t := readTransaction(reply)
	counts := h.countsOn(n, t.fence)
	switch {
	case t.clean && t.granted && counts:
		h.take(n, true, grant{fence: t.fence}, nil)
		return
	case !counts: // the counter has been lost since
		h.r.sightings.lost(h.lock, n.Index())
	}
	h.askAgain(n, t.granted || !t.clean)
}

// countsOn reports whether the script, too, would have drawn this fence from the
// counter that it found, instead of starting it from the clock.
func (h *Hold) countsOn(n *nodeset.Node, fence int64) bool {
	floor := n.FenceFloor()
	return floor > 0 && fence-h.block >= floor && fence < maxFence
}

// askAgain sends the script to a node whose answer to the transaction is no vote,
// unless the attempt is over. mayHold is false if the node certainly refused.
func (h *Hold) askAgain(n *nodeset.Node, mayHold bool) {
	h.mu.Lock()
	ended := h.phase != phaseVoting && !h.unclear
	queue := h.queue
	if ended {
		m := &h.members[n.Index()]
		if mayHold {
			h.landedLocked(m, Granted, nil)
			h.oursUntilLocked(h.ttl)
		} else {
			h.landedLocked(m, Refused, nil)
			m.say(lastReply{left: -1})
		}
	}
	h.mu.Unlock()
	if ended {
		h.flush()
		return
	}
	n.Send(h.acquireCommand(time.Now()).WithTwo(n.FenceFloor(), againWord(queue && n.Listening())), (*acquirer)(h))
}

// againWord is the last argument of an acquire script that follows a transaction.
func againWord(queue bool) string {
	if queue {
		return "3"
	}
	return "2"
}
