package mutex

import "time"

// Config configures the names of keys and their lifetimes. Zero fields mean
// their defaults.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". Locks exclude
	// each other only if they have the same Prefix.
	Prefix string

	// TTL is how long the key is held after Lock or Extend, and so how long
	// others wait after its holder crashed. Default 10 s; at least 10 ms, at
	// most [cluster.Config.MaxTTL].
	TTL time.Duration

	// Owner is a label that names the holder for people, in addition to
	// "<host name>:<process id>", which is always part of the value and is
	// shown by default. At most 128 bytes of UTF-8, without control characters
	// and without marks that change the direction of text, because it is shown
	// on terminals.
	Owner string

	// FenceRetention is how long the nodes keep the fence counter of a key that
	// is not used. A counter that has expired starts again from the clock.
	// Default 24 h, at least twice [cluster.Config.MaxTTL].
	FenceRetention time.Duration

	// HandOver is how long a released key is reserved for the waiting process
	// that is notified. If the process has left one notification unused, the
	// key is reserved for four times as long; after two, for sixteen times; at
	// most for 500 ms, or for HandOver if that is more. At the fourth the
	// process loses its place in the queue. Default 20 ms, from 1 ms to 1 s.
	HandOver time.Duration
}
