package lease

import "github.com/venta-hq/redlock/internal/keepalive"

var (
	// ErrNotAcquired is matched by a [*NotAcquiredError]: another holder has the
	// key.
	ErrNotAcquired = keepalive.ErrNotAcquired

	// ErrLost is matched by a [*LostError]: the lease ended although it was not
	// released. It matches the cause of the lease's context.
	ErrLost = keepalive.ErrLost

	// ErrReleased is returned by methods of a lease that was released, and is
	// the cause of its context.
	ErrReleased = keepalive.ErrReleased

	// ErrDetached is returned by methods of a lease that was detached, and is
	// the cause of its context.
	ErrDetached = keepalive.ErrDetached

	// ErrNoQuorum is [cluster.ErrNoQuorum]: too few nodes answered. It is
	// matched by a *cluster.QuorumError.
	ErrNoQuorum = keepalive.ErrNoQuorum

	// ErrClosed is [cluster.ErrClosed]: the Leases, or their Cluster, were
	// closed.
	ErrClosed = keepalive.ErrClosed
)

type (
	// NotAcquiredError reports why a key was not acquired. It matches
	// [ErrNotAcquired], Err, and the errors of the nodes. Its fields are
	//
	//	Key     string        // the caller's key
	//	Need    int           // votes needed
	//	Got     int           // votes granted
	//	FreeIn  time.Duration // until a quorum may be free, if nobody renews or releases; negative: unknown
	//	Split   bool          // several attempts each hold the key on some nodes, none on a quorum: retry shortly
	//	Class   Class         // for code: "held", "split", "late" (the answers came too late), "timeout" (of lock.Wait),
	//	                      // or "handle" (used before, or too late)
	//	Reason  string        // for people, such as "held by another"
	//	Holder  string        // the holder's label, as most nodes report it; "" if unknown
	//	Answers []Answer      // of each node: Node, Result, Holder, Left, Err
	//	Err     error         // what else caused it, such as the error of a context; usually nil
	NotAcquiredError = keepalive.NotAcquiredError

	// LostError reports why a lease ended before it was released. It matches
	// [ErrLost] and the errors of the nodes. Its fields are
	//
	//	Key     string
	//	Token   int64
	//	Class   Class    // for code: "expired", "clock" (it jumped), "taken", "forced", "max_hold",
	//	                 // "overtaken" (by a newer token) or "found_at_release"
	//	Reason  string   // for people, such as "expired"
	//	Answers []Answer // the last answer of each node: Node, Result, Holder, Left, Err
	LostError = keepalive.LostError
)
