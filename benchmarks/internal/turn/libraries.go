//go:build unix

package turn

import "fmt"

// The names of the libraries.
const (
	Redlock     = "redlock"
	Several     = "redlock, 8 keys" // which each operation locks together
	Redsync     = "redsync"
	RedsyncFast = "redsync fail-fast"
	Rueidislock = "rueidislock"
	Redislock   = "redislock"
)

// RueidisMajority makes rueidislock use five keys for a lock.
const RueidisMajority = 3

// RedisKeys are the keys that hold a lock of the library: the same one on each
// of its nodes, or several on one node.
func RedisKeys(library, key string) []string {
	switch library {
	case Redlock:
		return []string{"lock:" + key}
	case Rueidislock:
		var keys []string
		for i := range 2*RueidisMajority - 1 {
			keys = append(keys, fmt.Sprintf("rueidislock:%d:%s", i, key))
		}
		return keys
	default:
		return []string{key}
	}
}
