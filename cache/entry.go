package cache

import (
	"math"
	"strings"
	"time"
	"unsafe"
)

// entry is the data that a node keeps for one key. scripts/entry.lua describes
// its format.
type entry struct {
	stamp             int64         // µs of the node's clock when it was stored
	soft, hard, delta time.Duration // soft 0: none; delta is how long the load took
	run               string
	negative          bool
	tagged            bool
	data              string
}

// The kinds of entries. They change with the format of values; an entry of any
// other kind is treated as missing.
const (
	kindValue = "w"
	kindNone  = "n"
)

// parseEntry reads an entry. ok is false for text that no store script has
// written.
func parseEntry(text string) (e entry, ok bool) {
	r := reader{text, true}
	kind := r.word()
	stamp, soft, hard, delta := r.number(' '), r.millis(), r.millis(), r.millis()
	run, tags := r.word(), r.number('\n')
	for i := int64(0); i < tags && r.ok; i++ {
		_, r.left, r.ok = strings.Cut(r.left, "\n")
	}
	if !r.ok || kind != kindValue && kind != kindNone {
		return e, false
	}
	return entry{stamp, soft, hard, delta, run, kind == kindNone, tags > 0, r.left}, true
}

// reader is the part of an entry that has not been read yet.
type reader struct {
	left string
	ok   bool // everything read so far was well formed
}

// word reads up to a space.
func (r *reader) word() string {
	for i := range len(r.left) {
		if c := r.left[i]; c <= ' ' {
			w := r.left[:i]
			r.left = r.left[i+1:]
			r.ok = r.ok && c == ' '
			return w
		}
	}
	r.ok = false
	return ""
}

// number reads a number and the byte after it, which must be end.
func (r *reader) number(end byte) (n int64) {
	for i := range len(r.left) {
		switch c := r.left[i]; {
		case '0' <= c && c <= '9' && n < math.MaxInt64/10:
			n = n*10 + int64(c-'0')
			continue
		case c == end && i > 0:
			r.left = r.left[i+1:]
			return n
		}
		break
	}
	r.ok = false
	return 0
}

func (r *reader) millis() time.Duration {
	n := r.number(' ')
	r.ok = r.ok && n <= math.MaxInt64/int64(time.Millisecond)
	return time.Duration(n) * time.Millisecond
}

// age returns the age of the entry at now, in µs of the node's clock.
func (e *entry) age(now int64) time.Duration { return time.Duration(now-e.stamp) * time.Microsecond }

// expired reports whether the entry may be served only because a load failed.
func (e *entry) expired(now int64) bool { return e.age(now) >= e.hard }

// due reports whether the entry should be loaded again although it can be
// served. It is always due from soft on. Shortly before soft, or before hard if
// there is no soft, it is due at random: the closer the deadline and the longer
// a load takes, the higher the probability (XFetch: Vattani, Chierichetti,
// Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015). chance
// is drawn from (0, 1].
func (e *entry) due(now int64, chance float64) bool {
	end := e.hard
	if e.soft > 0 {
		end = e.soft
	}
	early := time.Duration(float64(e.delta) * -math.Log(chance))
	return e.age(now)+early >= end
}

// owned returns s as bytes without copying it. The caller must own s; here it
// was read from a socket for one entry only.
func owned(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
