//go:build unix

package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
)

// judge finds holders that must not overlap, and tokens that do not grow. Of a
// key with a limit, that many may hold it at once, each in a slot of its own; of
// others, readers may hold it beside readers.
func judge(holds []turn.Hold, limit int) (broken []string) {
	if limit > 0 {
		return judgeSlots(holds, limit)
	}
	var written, read int64 // the largest token of a writer and of a reader
	inOrder(holds, func(b turn.Hold, beside []turn.Hold) {
		if i := slices.IndexFunc(beside, func(a turn.Hold) bool { return !a.Read || !b.Read }); i >= 0 {
			broken = append(broken, fmt.Sprintf("two holders for %v", time.Duration(min(beside[i].To, b.To)-b.From)))
		}
		switch {
		case b.Token == 0:
		case b.Read:
			if b.Token < written {
				broken = append(broken, fmt.Sprintf("a reader's token %d came after a writer's %d", b.Token, written))
			}
			read = max(read, b.Token)
		default:
			if earlier := max(written, read); b.Token <= earlier {
				broken = append(broken, fmt.Sprintf("token %d came after %d", b.Token, earlier))
			}
			written = max(written, b.Token)
		}
	})
	return broken
}

// judgeSlots is judge for a key with a limit. Its tokens are unique, and those of
// a slot grow.
func judgeSlots(holds []turn.Hold, limit int) (broken []string) {
	granted, last := map[int64]bool{}, map[int]int64{}
	inOrder(holds, func(b turn.Hold, beside []turn.Hold) {
		if n := len(beside) + 1; n > limit {
			broken = append(broken, fmt.Sprintf("%d holders of a key with the limit %d", n, limit))
		}
		if b.Slot > 0 && slices.ContainsFunc(beside, func(a turn.Hold) bool { return a.Slot == b.Slot }) {
			broken = append(broken, fmt.Sprintf("two holders of slot %d", b.Slot-1))
		}
		if b.Token == 0 {
			return
		}
		if granted[b.Token] {
			broken = append(broken, fmt.Sprintf("token %d was granted twice", b.Token))
		} else if b.Token <= last[b.Slot] {
			broken = append(broken, fmt.Sprintf("token %d of slot %d came after %d", b.Token, b.Slot-1, last[b.Slot]))
		}
		granted[b.Token], last[b.Slot] = true, b.Token
	})
	return broken
}

// most is how many held a key at once.
func most(holds []turn.Hold) (n int) {
	inOrder(holds, func(_ turn.Hold, beside []turn.Hold) { n = max(n, len(beside)+1) })
	return n
}

// inOrder calls visit for each hold in the order in which they began, with those
// that had begun earlier and had not ended.
func inOrder(holds []turn.Hold, visit func(h turn.Hold, beside []turn.Hold)) {
	slices.SortFunc(holds, func(a, b turn.Hold) int { return cmp.Compare(a.From, b.From) })
	var beside []turn.Hold
	for _, h := range holds {
		beside = slices.DeleteFunc(beside, func(a turn.Hold) bool { return a.To <= h.From })
		visit(h, beside)
		beside = append(beside, h)
	}
}
