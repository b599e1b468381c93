package cluster

import "github.com/venta-hq/redlock/internal/nodeset"

var (
	// ErrNoQuorum is matched by a [*QuorumError]: too few nodes answered.
	// [Open] returns it, and every operation that needs a quorum.
	ErrNoQuorum = nodeset.ErrNoQuorum

	// ErrClosed is returned by every operation on a Cluster after Close, and on
	// a Locker, Leases, Store or Cache after its own Close.
	ErrClosed = nodeset.ErrClosed

	// ErrNodeDown is matched by the error of a node that was not asked because
	// it is down.
	ErrNodeDown = nodeset.ErrNodeDown

	// ErrConfig is matched by every error about a configuration or an option that
	// cannot be used.
	ErrConfig = nodeset.ErrConfig
)

type (
	// NodeError is the error of one node, or the reason why it was not asked.
	// Its fields are
	//
	//	Node string // the node's name
	//	Err  error
	NodeError = nodeset.NodeError

	// QuorumError reports that too few nodes answered. It matches
	// [ErrNoQuorum], the error of each node, and Err. Its fields are
	//
	//	Op        string        // the operation, such as "acquire"
	//	Key       string        // the caller's key; "" if there is none
	//	Need      int           // answers needed
	//	Got       int           // answers that count
	//	Nodes     []NodeError   // of the nodes that did not answer
	//	Err       error         // why a wait for a quorum ended; nil without a wait
	//	NotVoting int           // nodes that answered but do not vote, because they may have lost their data
	//	VotesIn   time.Duration // until a quorum votes, if these nodes stay up; 0: unknown
	QuorumError = nodeset.QuorumError
)
