//go:build unix

package turn

import (
	"fmt"
	"strings"
	"time"
)

// The names of the libraries.
const (
	Redlock     = "redlock"
	Several     = "redlock, 8 keys" // which each operation locks together
	Redsync     = "redsync"
	RedsyncFast = "redsync fail-fast"
	Rueidislock = "rueidislock"
	Redislock   = "redislock"

	Sharing   = "redlock, shared"   // whose readers read beside each other
	Limited   = "redlock, limit 8"  // that many hold a key at once
	Semaphore = "x/sync/semaphore"  // with that limit, of one process
	Retaining = "redlock, retained" // by the process, when it releases a key
	RoundTrip = "round trip"        // the third answer of five nodes; no lock
)

// Limit is how many hold a key of [Limited] or [Semaphore] at once.
const Limit = 8

// Retain is how long [Retaining] retains a key.
const Retain = time.Second

// Ours reports whether a library is this module, in whatever mode.
func Ours(library string) bool { return strings.HasPrefix(library, Redlock) }

// RueidisMajority makes rueidislock use five keys for a lock.
const RueidisMajority = 3

// RedisKeys are the keys that hold a lock of the library: the same one on each
// of its nodes, or several on one node.
func RedisKeys(library, key string) []string {
	switch {
	case Ours(library):
		return []string{"lock:" + key}
	case library == Rueidislock:
		var keys []string
		for i := range 2*RueidisMajority - 1 {
			keys = append(keys, fmt.Sprintf("rueidislock:%d:%s", i, key))
		}
		return keys
	default:
		return []string{key}
	}
}
