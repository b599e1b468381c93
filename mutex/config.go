package mutex

import "time"

// Config says how keys are named and how long they live. Zero fields mean their
// defaults.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". Locks exclude
	// each other only if they have the same Prefix.
	Prefix string

	// TTL is how long the key is held after Lock or Extend, and so how long others
	// wait after its process crashed. Default 10 s; at least 10 ms, at most
	// Config.MaxTTL of the Cluster.
	TTL time.Duration

	// Owner is a label that shows a person who holds the key, in addition to
	// "<host name>:<process id>", which is always in the value and is the default.
	// At most 128 bytes of UTF-8 without control characters and without marks that
	// change the direction of text, because it is shown on terminals.
	Owner string

	// FenceRetention is how long the nodes keep the fence counter of a key that is
	// not used. A counter that has expired starts again from the clock. Default
	// 24 h, at least twice Config.MaxTTL of the Cluster.
	FenceRetention time.Duration

	// HandOver is how long a released key is reserved for the waiting process that
	// is notified. If that process did not use the notification before, the key is
	// reserved for four times as long, the next time for sixteen times, but at most
	// for 500 ms, or HandOver if that is more; at the fourth the process loses its
	// place in the queue. Default 20 ms, from 1 ms to 1 s.
	HandOver time.Duration
}
