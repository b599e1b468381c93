package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// goWrong begins or ends a time in which the node answers scripts wrongly and sends messages that nothing is behind.
func (n *node) goWrong(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !on {
		n.wrong--
		return
	}
	if n.wrong++; n.wrong == 1 {
		n.babbleLocked()
	}
}

// lieLocked is an answer to a script that is not the right one. None says that something succeeded: a node that says so
// and does not do it is one that loses keys unseen, against which there is no remedy. Records are not lied about, only
// refused: a node that says it has none has lost it.
func (n *node) lieLocked(args []string, right any) any {
	if !strings.HasPrefix(strings.ToLower(args[0]), "eval") {
		return right
	}
	lies := []any{failure("ERR wrong"), failure("WRONG"), failure("READONLY wrong")}
	if args[2] == "4" || args[2] == "5" { // keys: acquire, release or leave, and those of readers
		lies = append(lies, nil, int64(-7), "wrong", []any{}, []any{int64(0)}, []any{int64(3), int64(1), int64(0)},
			[]any{int64(1), int64(-1), int64(0)}, []any{int64(1), int64(1) << 53, int64(0)}, []any{int64(1), "1", int64(0)},
			[]any{int64(0), int64(-77), "nobody"}, []any{int64(0), int64(1) << 60, "no/body/at:1"}, []any{int64(0), int64(1), ""})
	}
	if args[2] == "6" { // of a key with a limit
		lies = append(lies, nil, int64(-7), "wrong", []any{}, []any{int64(0)}, []any{int64(3), int64(1), int64(0), int64(0), ""},
			[]any{int64(1), int64(-1), int64(0), int64(0), ""}, []any{int64(1), int64(1) << 53, int64(0), int64(0), ""},
			[]any{int64(1), int64(7), int64(0), int64(-1), ""}, []any{int64(1), int64(7), int64(0), int64(1) << 40, ""},
			[]any{int64(0), int64(-77), "nobody", ""}, []any{int64(0), int64(1) << 60, "no/body/at:1", "zzzz"}, []any{int64(0), int64(1), "", "z"})
	}
	return lies[n.rng.IntN(len(lies))]
}

// lieOfTransactionLocked is an answer to a transaction that is not the right one.
func (n *node) lieOfTransactionLocked() any {
	refused := []any{int64(0), int64(0), int64(0), int64(0), int64(7)}
	lies := []any{failure("ERR wrong"), failure("EXECABORT wrong"), nil, int64(-7), []any{}, refused,
		[]any{int64(0), int64(1), int64(0), int64(0), int64(1) << 60}, []any{int64(0), int64(1), int64(1), int64(1), "1"},
		[]any{int64(0), int64(1), int64(1), int64(1), int64(3)}, []any{int64(0), int64(1), int64(1), int64(1), int64(1) << 53}}
	return lies[n.rng.IntN(len(lies))]
}

// babbleLocked wakes everybody who listens, or announces a waiter to them, again and again while the node is wrong.
func (n *node) babbleLocked() {
	text := fmt.Sprint([]string{"wlock:k", "qlock:k", "wlock:job:k", "s1:lock:s", "qlock:s"}[n.rng.IntN(5)], n.rng.IntN(n.w.plan.keys))
	var channels []string
	for _, c := range n.conns {
		for channel := range c.subs {
			channels = append(channels, channel)
		}
	}
	slices.Sort(channels)
	for _, channel := range slices.Compact(channels) {
		n.publish(channel, text)
	}
	n.flushLocked()
	n.w.agenda.at(time.Now().Add(time.Duration(1+n.rng.Int64N(int64(20*time.Millisecond)))), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.wrong > 0 {
			n.babbleLocked()
		}
	})
}
