package cluster

import "github.com/venta-hq/redlock/internal/nodeset"

var (
	// ErrNoQuorum is matched by a [*QuorumError]: too few nodes answered to decide
	// anything. Open returns it, and every operation of the packages above.
	ErrNoQuorum = nodeset.ErrNoQuorum

	// ErrClosed is returned by everything that is asked of a Cluster after Close, or
	// of a Locker, Leases, Store or Cache after theirs.
	ErrClosed = nodeset.ErrClosed

	// ErrNodeDown is matched by the error of a node that was not asked, because it
	// has not answered lately.
	ErrNodeDown = nodeset.ErrNodeDown

	// ErrConfig is matched by every error about a configuration or an option that
	// cannot be used.
	ErrConfig = nodeset.ErrConfig
)

type (
	// NodeError is what one node answered, or why it could not be asked. Its fields
	// are
	//
	//	Node string // the node's name
	//	Err  error
	NodeError = nodeset.NodeError

	// QuorumError says that too few nodes answered. It matches [ErrNoQuorum], the
	// error of each node, and Err. Its fields are
	//
	//	Op        string        // what was tried, as "acquire"
	//	Key       string        // the caller's key; "" where there is none
	//	Need      int           // answers needed
	//	Got       int           // answers that came and count
	//	Nodes     []NodeError   // of the nodes that did not answer
	//	Err       error         // why a wait for a quorum ended; nil where nothing was waited for
	//	NotVoting int           // nodes that answered, but do not vote: they restarted lately
	//	VotesIn   time.Duration // until a quorum votes, if these nodes stay up; 0: not known
	QuorumError = nodeset.QuorumError
)
