package nodeset

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
)

var (
	// ErrNoQuorum is matched by a *QuorumError: too few nodes answered to decide anything. Open returns it, and every
	// operation of the packages above.
	ErrNoQuorum = errors.New("redlock: no quorum of nodes")

	// ErrClosed is returned by every operation on a Set after Close, and on a
	// Locker, Leases and so on after their own Close.
	ErrClosed = errors.New("redlock: closed")

	// ErrNodeDown is matched by the error of a node that was not asked, because
	// it is down.
	ErrNodeDown = errors.New("node is down")

	// ErrConfig is matched by every error about a configuration or an option that cannot be used.
	ErrConfig = configerr.Err

	errNil = configerr.Field("Cluster", "is nil; see the error of cluster.Open")
)

// NodeError is what one node answered, or why it could not be asked.
type NodeError struct {
	Node string // the node's name
	Err  error
}

func (e *NodeError) Error() string { return "node " + e.Node + ": " + errs.Text(e.Err) }
func (e *NodeError) Unwrap() error { return e.Err }

// QuorumError reports that too few nodes answered. It matches ErrNoQuorum, the
// error of each node, and Err.
type QuorumError struct {
	Op    string // the operation, such as "acquire"
	Key   string // the caller's key, or "" where there is none
	Need  int    // answers needed
	Got   int    // answers that came and count
	Nodes []NodeError

	// Err is why a wait for a quorum ended, such as the error of a context. It
	// is nil without a wait.
	Err error

	// NotVoting is the number of nodes that answered but do not vote yet,
	// because they may have lost their data. VotesIn is how long until a quorum
	// votes, if all of them stay up; 0 if unknown.
	NotVoting int
	VotesIn   time.Duration
}

func (e *QuorumError) Error() string {
	var b strings.Builder
	b.WriteString("redlock: " + e.Op)
	if e.Key != "" {
		fmt.Fprintf(&b, " %q", e.Key)
	}
	switch {
	case e.NotVoting > 0 && e.VotesIn > 0:
		fmt.Fprintf(&b, ": no quorum: %d answered, but only %d of the %d nodes needed can vote; a quorum votes in %v",
			e.Got+e.NotVoting, e.Got, e.Need, e.VotesIn.Round(100*time.Millisecond))
	case e.NotVoting > 0:
		fmt.Fprintf(&b, ": no quorum: %d answered, but only %d of the %d nodes needed can vote", e.Got+e.NotVoting, e.Got, e.Need)
	case e.Got >= e.Need && e.Err != nil:
		fmt.Fprintf(&b, ": no quorum: %d answered, and %d are needed", e.Got, e.Need)
	default:
		fmt.Fprintf(&b, ": no quorum: %d of the %d nodes needed answered", e.Got, e.Need)
	}
	for i := range e.Nodes {
		sep := "; "
		if i == 0 {
			sep = " ("
		}
		b.WriteString(sep + e.Nodes[i].Error())
	}
	if len(e.Nodes) > 0 {
		b.WriteString(")")
	}
	if e.Err != nil {
		b.WriteString(": " + errs.Text(e.Err))
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNoQuorum) true.
func (e *QuorumError) Is(target error) bool { return target == ErrNoQuorum }

// Unwrap gives the errors of the nodes, and Err.
func (e *QuorumError) Unwrap() []error {
	errs := make([]error, len(e.Nodes), len(e.Nodes)+1)
	for i := range e.Nodes {
		errs[i] = &e.Nodes[i]
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// downError is the answer of a node that is not asked.
type downError struct{ cause error }

func (e *downError) Error() string        { return "down: " + e.cause.Error() }
func (e *downError) Is(target error) bool { return target == ErrNodeDown }
func (e *downError) Unwrap() error        { return e.cause }

// setupError is the error of commands for which no connection could be set up:
// the server refused the credentials, or another command of the set-up. None of
// them was sent.
type setupError struct{ cause error }

func (e *setupError) Error() string        { return "no connection could be set up: " + e.cause.Error() }
func (e *setupError) Is(target error) bool { return target == ErrNodeDown }

// Unwrap returns a list because go-redis's pool takes off what a single error
// wraps.
func (e *setupError) Unwrap() []error { return []error{e.cause} }

// notSetUp is err as a *setupError.
func notSetUp(err error) error {
	var setup *setupError
	if errors.As(err, &setup) {
		return err
	}
	return &setupError{err}
}

// Unsent reports whether err, an error that a Receiver got, proves that the command never left for the node.
// Any other error leaves open whether the node has executed it, or will.
func Unsent(err error) bool {
	return errors.Is(err, ErrNodeDown) || errors.Is(err, ErrClosed) || errors.Is(err, errFull) || errors.Is(err, redis.ErrPoolTimeout)
}

// answered reports whether err is an answer of the server, as opposed to trouble on the way.
func answered(err error) bool {
	var reply redis.Error
	return err == nil || errors.As(err, &reply)
}

// saidBy reports whether err is an answer of the server that begins with word, however it is wrapped.
func saidBy(err error, word string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), word)
}

// unable reports whether err is the answer of a server that currently executes
// no commands, or none of this user, and has not executed this one.
func unable(err error) bool {
	var setup *setupError
	if err == nil {
		return false
	}
	for _, word := range []string{"LOADING", "BUSY ", "MASTERDOWN", "WRONGPASS", "NOAUTH"} {
		if saidBy(err, word) {
			return true
		}
	}
	return errors.As(err, &setup) || redis.IsMaxClientsError(err)
}
