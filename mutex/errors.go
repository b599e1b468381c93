package mutex

import "github.com/venta-hq/redlock/internal/quorumlock"

var (
	// ErrNotAcquired is matched by a [*NotAcquiredError]. Lock and TryLock return
	// it if somebody else holds the key.
	ErrNotAcquired = quorumlock.ErrNotAcquired

	// ErrLost is matched by a [*LostError]. Extend and Unlock return it if the
	// Mutex was lost before it was released.
	ErrLost = quorumlock.ErrLost

	// ErrReleased is returned by Extend and Unlock if the Mutex is not held.
	ErrReleased = quorumlock.ErrReleased
)

type (
	// NotAcquiredError names the holder of the key. It matches [ErrNotAcquired], the
	// error of each node, and Err. Its fields are
	//
	//	Key     string
	//	Need    int           // votes needed
	//	Got     int           // votes granted
	//	FreeIn  time.Duration // when a quorum could be free, if nobody extends or releases; negative: not known
	//	Split   bool          // several attempts have some nodes each and none a quorum: try again shortly
	//	Class   Class         // the reason in a word: "held", "split", "late"
	//	Reason  string        // "held by another", "the answers came too late", …
	//	Holder  string        // the label of the holder, as most nodes say; "" where it is not known
	//	Answers []Answer      // of each node
	//	Err     error         // why a wait ended, as the error of a context; mostly nil
	NotAcquiredError = quorumlock.NotAcquiredError

	// LostError says why a Mutex was lost before it was released. It matches
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
	//	Holder string        // the label of the holder there; "" where there is none or it is not known
	//	Left   time.Duration // how long the holder's key lives at most; negative: not known
	//	Err    error         // why it did not answer
	Answer = quorumlock.Answer
)
