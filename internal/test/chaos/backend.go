//go:build unix

package chaos

import (
	"errors"
	"fmt"
	"sync"
)

// Backend starts nodes.
type Backend struct {
	Name  string // for the line at the start
	Start func(n int, k NodeKind) (Nodes, error)
	Close func()
	// noClocks and noSmallDisks return why such nodes cannot run here, or nil. Each is tried once.
	noClocks, noSmallDisks func() error
}

// NewBackend returns a backend that starts nodes with start. close removes everything that the nodes have left behind.
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

// ownServerHasClocks tries the machine's own server as a child process, whose end is noticed at once. Some servers
// crash under libfaketime.
var ownServerHasClocks = sync.OnceValue(func() error { return hasClocks(startProcesses) })

// hasClocks returns an error unless a node with a clock can be started.
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

// Lacks returns why nodes of this kind cannot run here, or nil.
func (b *Backend) Lacks(k NodeKind) error {
	if k.Clocks != nil {
		if err := b.noClocks(); err != nil {
			return fmt.Errorf("node clocks cannot be set: %w", err)
		}
	}
	if k.SmallDisk {
		if err := b.noSmallDisks(); err != nil {
			return fmt.Errorf("no small disks: %w", err)
		}
	}
	return nil
}

// ErrNoNodes is matched by the error of a machine on which no nodes can run.
var ErrNoNodes = errors.New("no real nodes")
