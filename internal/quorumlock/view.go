package quorumlock

import (
	"strconv"
	"time"
)

// inspected are the words of a reply of the inspect script.
type inspected struct {
	kind   int64 // 0: nothing stands there, 1: a string, 2: something else
	value  string
	left   int64 // ms
	fence  string
	queued int64
	first  []any // of the queue: a process, its score, the next
	shared []any // the readers: a value, the ms left, the next
}

func readInspected(reply any) (in inspected, ok bool) {
	words, _ := reply.([]any)
	if len(words) != 7 {
		return in, false
	}
	for _, ok = range []bool{
		word(words[0], &in.kind), word(words[1], &in.value), word(words[2], &in.left),
		word(words[3], &in.fence), word(words[4], &in.queued), word(words[5], &in.first), word(words[6], &in.shared),
	} {
		if !ok {
			return in, false
		}
	}
	return in, true
}

// word stores reply in to if it is a T.
func word[T any](reply any, to *T) (ok bool) {
	*to, ok = reply.(T)
	return ok
}

// readView reads a reply of the inspect script.
func readView(reply any, err error) (v View, _ error) {
	if err != nil {
		return v, err
	}
	in, ok := readInspected(reply)
	if !ok {
		return v, badReply("inspect", reply)
	}
	switch {
	case in.kind == 2 || in.kind == 1 && in.value == "":
		v.Holder = Holder{Writer: WriterForeign}
	case in.kind == 1:
		v.Holder, v.value = readValue(in.value), in.value
	}
	if v.Holder.Writer != NoWriter {
		v.Left = timeLeft(in.left)
	}
	if f, err := strconv.ParseInt(in.fence, 10, 64); err == nil && f > 0 && f < 1<<53 {
		v.Fence = f
	} else if in.fence != "0" {
		v.noFence = in.fence
	}
	v.Waiting = int(min(max(in.queued, 0), 1<<30))
	v.waiters, v.readers = readWaiters(in.first), readReaders(in.shared)
	for i := 0; i < len(in.shared); i += 2 {
		value, _ := in.shared[i].(string)
		v.values = append(v.values, value)
	}
	return v, nil
}

// timeLeft reads the answer to PTTL: negative if the key never expires. A
// transaction gives such a key a century.
func timeLeft(ms int64) time.Duration {
	if ms < 0 || ms >= 1<<40 {
		return -time.Millisecond
	}
	return time.Duration(ms) * time.Millisecond
}

func readWaiters(words []any) (all []Waiter) {
	for i := 0; i+1 < len(words); i += 2 {
		process, _ := words[i].(string)
		score, _ := words[i+1].(string)
		w := Waiter{Process: process[:min(len(process), shownProcess)]}
		if us, err := strconv.ParseFloat(score, 64); err == nil && us > 0 && us < 1<<53 {
			w.Since = time.UnixMicro(int64(us))
		}
		all = append(all, w)
	}
	return all
}
