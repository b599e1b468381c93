package session

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// version orders the writes to one field among all processes. It consists of a
// clock's µs and a suffix that distinguishes writes of the same µs. Its width
// is fixed, so that versions compare as strings, here and on the nodes.
type version = string

const (
	timeWidth    = 16
	versionWidth = 2 * timeWidth
)

// lastMicros is the largest time that is accepted, in the year 2255. Later
// versions would be wider.
const lastMicros = 9_000_000_000_000_000

// stamp returns a moment in the form that scripts compare. Moments before 1970
// become the first one.
func stamp(micros int64) string { return padded(uint64(max(micros, 1)), 10) }

// padded returns n in 16 digits.
func padded(n uint64, base int) string {
	const zeros = "0000000000000000"
	var b [timeWidth]byte
	digits := strconv.AppendUint(b[:0], n, base)
	return zeros[min(len(digits), timeWidth):] + string(digits)
}

// isTime reports whether s is a stamp or version of this width.
func isTime(s string, width int) bool { return len(s) == width && micros(s) > 0 }

// latest returns the time of the latest version that is accepted at now. A
// process that sees a version writes above it, and a floor is put on all nodes.
// So a node whose versions are further ahead would raise those of the other
// nodes until nothing could be written.
func latest(now time.Time) string { return stamp(now.Add(nodeset.MaxFenceLead).UnixMicro()) }

// checkVersion returns an error unless s is a version that is not later than
// latest.
func checkVersion(s, latest string) error {
	switch {
	case !isTime(s, versionWidth):
		return errForeign
	case s[:timeWidth] > latest:
		return errAhead
	}
	return nil
}

// micros parses a stamp, or the time of a version. It returns 0 for anything
// else.
func micros(s string) int64 {
	if len(s) < timeWidth {
		return 0
	}
	n, err := strconv.ParseInt(s[:timeWidth], 10, 64)
	if err != nil || n < 0 || n > lastMicros {
		return 0
	}
	return n
}

func moment(s string) time.Time { return time.UnixMicro(micros(s)) }

// clock makes versions that grow within a process and exceed every version that
// it has seen.
type clock struct{ last atomic.Int64 }

// after returns a version above seen, which may be "", and above all versions
// that this clock has made.
func (c *clock) after(seen version) version {
	for {
		last := c.last.Load()
		now := max(time.Now().UnixMicro(), last+1)
		if c.last.CompareAndSwap(last, now) {
			return stamp(max(now, micros(seen)+1)) + padded(rand.Uint64(), 16)
		}
	}
}

// next returns the version above seen for the holder of the lock with this
// token. Of two holders that have seen the same version, the one with the
// larger token gets the larger version, whenever they write.
func next(seen version, token int64) version {
	return stamp(micros(seen)+1) + padded(uint64(token), 16)
}
