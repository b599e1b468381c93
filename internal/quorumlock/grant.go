package quorumlock

import (
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// grant is what a reply of the acquire script says beside whether it granted.
type grant struct {
	fence   int64 // of one that granted
	waiters int
	queued  bool          // of a reader: its process has a place in the queue
	left    time.Duration // of the holder's TTL; negative: it never expires
	holder  string
	slot    int    // of a key with a limit: which it granted
	slots   string // of a key with a limit: who has which; "" where that is not said
}

// readGrant reads a reply. Whatever does not look exactly like a grant is none.
func readGrant(reply any, err error, block int64) (granted bool, g grant, _ error) {
	if err != nil {
		if !nodeset.Unsent(err) && strings.Contains(err.Error(), "WRONGTYPE") {
			err = wrongTypeError{err}
		}
		return false, g, fenceRefused(err)
	}
	words, ok := reply.([]any)
	if !ok || len(words) != 3 {
		return false, g, badReply("acquire", reply)
	}
	kind, ok1 := words[0].(int64)
	number, ok2 := words[1].(int64)
	if !ok1 || !ok2 {
		return false, g, badReply("acquire", reply)
	}
	switch kind {
	case 1:
		waiters, ok := words[2].(int64)
		if !ok || number < block || number >= maxFence {
			return false, g, badReply("acquire", reply)
		}
		return true, grant{fence: number, waiters: int(min(max(waiters, 0), 1<<20))}, nil
	case 0:
		holder, ok := words[2].(string)
		if !ok {
			return false, g, badReply("acquire", reply)
		}
		if number == -2 { // PTTL of no key: where time goes on during a script, as on embedded nodes, it expired just then
			number = 0
		}
		return false, grant{left: timeLeft(number), holder: holder}, nil
	}
	return false, g, badReply("acquire", reply)
}

// badReply names the type only: a reply may hold another's value.
func badReply(op string, reply any) error {
	return fmt.Errorf("unexpected reply to %s (%T); is something else answering at this address?", op, reply)
}
