package lock

import (
	"errors"

	"github.com/venta-hq/redlock/lease"
)

var (
	// ErrNotAcquired is matched by a [*NotAcquiredError]: another holder has the
	// key.
	ErrNotAcquired = lease.ErrNotAcquired

	// ErrLost is matched by a [*LostError]: the lock ended while it was held. It
	// matches the cause of the context under the lock.
	ErrLost = lease.ErrLost

	// ErrReleased is returned by methods of a lease that was released, and is
	// the cause of its context.
	ErrReleased = lease.ErrReleased

	// ErrNoQuorum is [cluster.ErrNoQuorum]: too few nodes answered. It is
	// matched by a *cluster.QuorumError.
	ErrNoQuorum = lease.ErrNoQuorum

	// ErrClosed is [cluster.ErrClosed]: the Locker, or its Cluster, was closed.
	ErrClosed = lease.ErrClosed

	// ErrReentrant is returned at once when a key is locked under a context
	// that already holds it: waiting would deadlock.
	ErrReentrant = errors.New("redlock: this context already holds the key")
)

type (
	// NotAcquiredError reports why a key was not locked. It matches
	// [ErrNotAcquired], Err, and the errors of the nodes. Its fields are
	//
	//	Key     string        // the caller's key
	//	Need    int           // votes needed
	//	Got     int           // votes granted
	//	FreeIn  time.Duration // until a quorum may be free, if nobody renews or releases; negative: unknown
	//	Split   bool          // several attempts each hold the key on some nodes, none on a quorum: retry shortly
	//	Class   Class         // for code: "held", "split", "late" (the answers came too late), or "timeout" (of Wait)
	//	Reason  string        // for people, such as "held by another"
	//	Holder  string        // the holder's label, as most nodes report it; "" if unknown
	//	Answers []Answer      // of each node: Node, Result, Holder, Left, Err
	//	Err     error         // what else caused it, such as the error of a context; usually nil
	NotAcquiredError = lease.NotAcquiredError

	// LostError reports why a lock ended while it was held. It matches
	// [ErrLost] and the errors of the nodes. Its fields are
	//
	//	Key     string
	//	Token   int64
	//	Class   Class    // for code: "expired", "clock" (it jumped), "taken", "forced", "max_hold",
	//	                 // "overtaken" (by a newer token) or "found_at_release"
	//	Reason  string   // for people, such as "expired"
	//	Answers []Answer // the last answer of each node: Node, Result, Holder, Left, Err
	LostError = lease.LostError
)
