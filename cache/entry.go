package cache

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// entry is what a node keeps of one key. scripts/entry.lua says how it is written.
type entry struct {
	stamp             int64         // µs of the node's clock when it was stored
	soft, hard, delta time.Duration // soft 0: none; delta is how long the load took
	run               string
	negative          bool
	tagged            bool
	data              string
}

// parseEntry reads an entry. ok is false for whatever a store script has not written.
func parseEntry(text string) (e entry, ok bool) {
	facts, rest, _ := strings.Cut(text, "\n")
	var words [7]string
	for i := range words {
		words[i], facts, _ = strings.Cut(facts, " ")
	}
	var n [5]int64
	for i, w := range []string{words[1], words[2], words[3], words[4], words[6]} {
		v, err := strconv.ParseInt(w, 10, 64)
		if err != nil || v < 0 || v > math.MaxInt64/int64(time.Millisecond) && i > 0 {
			return e, false
		}
		n[i] = v
	}
	if facts != "" || words[0] != "v" && words[0] != "n" {
		return e, false
	}
	for range n[4] {
		if _, rest, ok = strings.Cut(rest, "\n"); !ok {
			return e, false
		}
	}
	return entry{
		stamp: n[0], soft: time.Duration(n[1]) * time.Millisecond, hard: time.Duration(n[2]) * time.Millisecond,
		delta: time.Duration(n[3]) * time.Millisecond, run: words[5], negative: words[0] == "n", tagged: n[4] > 0, data: rest,
	}, true
}

// age is how old the entry is at now, µs of the node's clock.
func (e *entry) age(now int64) time.Duration { return time.Duration(now-e.stamp) * time.Microsecond }

// expired reports whether the entry may be served only because a load failed.
func (e *entry) expired(now int64) bool { return e.age(now) >= e.hard }

// due reports whether the entry should be loaded again though it can be served. From soft on it is. A while before that,
// or before hard where there is no soft, one caller or another finds it due, the likelier the nearer and the longer a load
// takes (XFetch: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015). chance is
// drawn from (0, 1].
func (e *entry) due(now int64, chance float64) bool {
	end := e.hard
	if e.soft > 0 {
		end = e.soft
	}
	early := time.Duration(float64(e.delta) * -math.Log(chance))
	return e.age(now)+early >= end
}

// bytes is s without a copy. It was read from a socket for this entry alone.
func bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
