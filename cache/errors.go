package cache

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/venta-hq/redlock/cluster"
)

var (
	// ErrNotFound is returned by a load, alone or wrapped, if no value exists.
	// [Cache.Fetch] keeps this result for [Config.NegativeTTL]; Fetch and
	// [Cache.Get] then return ErrNotFound.
	ErrNotFound = errors.New("redlock: not found")

	// ErrUnreached is matched by an [*UnreachedError]: no node has confirmed a
	// write or deletion yet.
	ErrUnreached = errors.New("redlock: no node was reached")

	// ErrTooLarge is returned by [Cache.Set] for a value larger than
	// [Config.MaxValue].
	ErrTooLarge = errors.New("redlock: value too large")

	// ErrReentrant is returned at once by [Cache.Fetch] and [Cache.FetchMany]
	// under the context of a load of the same key: waiting would deadlock.
	ErrReentrant = errors.New("redlock: this context already loads the key")

	// ErrNoLoad is returned by [Cache.Decide] outside of a load.
	ErrNoLoad = errors.New("redlock: the context is not of a load of the key")

	// ErrClosed is returned by every method of a Cache after Close.
	ErrClosed = cluster.ErrClosed
)

// UnreachedError reports that no node confirmed a write or deletion. Old values
// may be served until a node is reachable again, for which the deletion is
// pending, and at most until they expire. It matches [ErrUnreached] and the
// error of each node.
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

// Is reports whether target is [ErrUnreached].
func (e *UnreachedError) Is(target error) bool { return target == ErrUnreached }

// Unwrap returns the errors of the nodes.
func (e *UnreachedError) Unwrap() []error {
	errs := make([]error, len(e.Nodes))
	for i := range e.Nodes {
		errs[i] = &e.Nodes[i]
	}
	return errs
}

// PanicError is the error of a load that panicked, and of Set if the codec
// panicked. The panic is recovered, so it does not end the program.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("redlock: the load panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the value of the panic if it is an error, and nil otherwise.
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

// errExit is the error of a load that called runtime.Goexit.
var errExit = errors.New("redlock: the load called runtime.Goexit")
