//go:build unix

package chaos

import (
	"errors"
	"fmt"
	"sync"
)

// Backend is where nodes come from.
type Backend struct {
	Name  string // for the line at the start
	Start func(n int, k NodeKind) (Nodes, error)
	Close func()
	// noClocks and noSmallDisks say why there can be none, if so. Each is tried once.
	noClocks, noSmallDisks func() error
}

// NewBackend returns a backend that starts nodes with start, and whose close removes what they have left anywhere.
func NewBackend(name string, start func(int, NodeKind) (Nodes, error), close func()) *Backend {
	return &Backend{
		Name: name, Start: start, Close: close,
		noClocks: sync.OnceValue(func() error {
			if err := ownServerHasClocks(); err != nil {
				return err
			}
			return hasClocks(start)
		}),
		noSmallDisks: sync.OnceValue(func() error {
			set, err := start(1, NodeKind{Memory: SyncedEverySecond, SmallDisk: true})
			if err != nil {
				return err
			}
			return set.Close()
		}),
	}
}

// ownServerHasClocks tries the machine's own server as a child process, of which it is seen at once when it ends. Some servers
// crash behind libfaketime.
var ownServerHasClocks = sync.OnceValue(func() error { return hasClocks(startProcesses) })

// hasClocks tries one node.
func hasClocks(start func(int, NodeKind) (Nodes, error)) error {
	set, err := start(1, NodeKind{Clocks: []string{"+0"}})
	switch {
	case errors.Is(err, errNoFaketime):
		return err
	case err != nil:
		return fmt.Errorf("the server does not run behind libfaketime: %s", oneLine(err.Error()))
	}
	return errors.Join(tryClock(set), set.Close())
}

// Lacks says why there can be no nodes of this kind, if so.
func (b *Backend) Lacks(k NodeKind) error {
	if k.Clocks != nil {
		if err := b.noClocks(); err != nil {
			return fmt.Errorf("no clocks that can be set: %w", err)
		}
	}
	if k.SmallDisk {
		if err := b.noSmallDisks(); err != nil {
			return fmt.Errorf("no small disks: %w", err)
		}
	}
	return nil
}

// ErrNoNodes matches errors that say that this machine has nothing to run nodes with.
var ErrNoNodes = errors.New("no real nodes")
