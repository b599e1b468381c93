package mutex

import "github.com/venta-hq/redlock/internal/quorumlock"

var (
	// ErrNotAcquired is matched by a [*NotAcquiredError]. [Mutex.Lock] and
	// [Mutex.TryLock] return it if another holder has the key.
	ErrNotAcquired = quorumlock.ErrNotAcquired

	// ErrLost is matched by a [*LostError]. [Mutex.Extend] and [Mutex.Unlock]
	// return it if the Mutex was lost before it was released.
	ErrLost = quorumlock.ErrLost

	// ErrReleased is returned by [Mutex.Extend] and [Mutex.Unlock] if the Mutex
	// is not held.
	ErrReleased = quorumlock.ErrReleased
)

type (
	// NotAcquiredError names the holder of the key. It matches [ErrNotAcquired], the
	// error of each node, and Err. Its fields are
	//
	//	Key     string
	//	Need    int           // votes needed
	//	Got     int           // votes granted
	//	FreeIn  time.Duration // until a quorum may be free, if nobody extends or releases; negative: unknown
	//	Split   bool          // several attempts each hold the key on some nodes, none on a quorum: retry shortly
	//	Class   Class         // the reason in a word: "held", "split", "late"
	//	Reason  string        // "held by another", "the answers came too late", …
	//	Holder  string        // the label of the holder, as most nodes report it; "" if unknown
	//	Answers []Answer      // of each node
	//	Err     error         // why a wait ended, such as the error of a context; usually nil
	NotAcquiredError = quorumlock.NotAcquiredError

	// LostError reports why a Mutex was lost before it was released. It matches
	// [ErrLost] and the error of each node. Its fields are
	//
	//	Key     string
	//	Token   int64
	//	Class   Class    // the reason in a word: "expired", "taken", "forced"
	//	Reason  string   // "expired", "gone or taken on too many nodes", …
	//	Answers []Answer // the last answer of each node; nil where it does not matter
	LostError = quorumlock.LostError

	// Answer is what one node answered to one attempt. Its fields are
	//
	//	Node   string
	//	Result Result        // prints as "pending", "granted", "refused", "failed", "unasked" or "healed"
	//	Holder string        // the label of the holder there; "" if there is none or it is unknown
	//	Left   time.Duration // how long the holder's key lives at most; negative: unknown
	//	Err    error         // why it did not answer
	Answer = quorumlock.Answer
)
