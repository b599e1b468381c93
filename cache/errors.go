package cache

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/venta-hq/redlock/cluster"
)

var (
	// ErrNotFound is what a load returns, alone or wrapped, if there is no
	// value; Fetch keeps that for Config.NegativeTTL and returns it, and so
	// does Get.
	ErrNotFound = errors.New("redlock: not found")

	// ErrUnreached is matched by an *UnreachedError: an invalidation that
	// no node took yet.
	ErrUnreached = errors.New("redlock: no node was reached")

	// ErrTooLarge is returned by Set for a value above Config.MaxValue.
	ErrTooLarge = errors.New("redlock: value too large")

	// ErrReentrant is returned by Fetch and FetchMany at once under the
	// context of a load of the same key, which would wait for itself.
	ErrReentrant = errors.New("redlock: this context already loads the key")

	// ErrNoLoad is returned by Decide outside of a load.
	ErrNoLoad = errors.New("redlock: the context is not of a load of the key")

	// ErrClosed is returned by every call on a Cache after Close.
	ErrClosed = cluster.ErrClosed
)

// UnreachedError reports that no node confirmed a write or deletion. Old values
// may be served until a node is reached again, for which the deletion is
// pending, or at most until they expire. It matches ErrUnreached, and the error
// of each node.
type UnreachedError struct {
	Op    string // "set", "delete", "mark stale" or "delete tag"
	Key   string
	Nodes []cluster.NodeError
}

func (e *UnreachedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "redlock: %s %q: not confirmed; old values may be served until it is, or they expire", e.Op, e.Key)
	for i := range e.Nodes {
		b.WriteString("; " + e.Nodes[i].Error())
	}
	return b.String()
}

// Is makes errors.Is(err, ErrUnreached) true.
func (e *UnreachedError) Is(target error) bool { return target == ErrUnreached }

// Unwrap returns the errors of the nodes.
func (e *UnreachedError) Unwrap() []error {
	errs := make([]error, len(e.Nodes))
	for i := range e.Nodes {
		errs[i] = &e.Nodes[i]
	}
	return errs
}

// PanicError is the error of a load that panicked, and of Set if the codec did.
// The panic was on no caller's goroutine, so it ends no program.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("redlock: the load panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the value of the panic, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// catchPanic runs fn, and returns its panic as an error.
func catchPanic(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
	}()
	return fn()
}

// errExit is the error of a load that ended its goroutine.
var errExit = errors.New("redlock: the load called runtime.Goexit")
