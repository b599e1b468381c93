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

func NewBackend(name string, start func(int, NodeKind) (Nodes, error), close func()) *Backend {
	return &Backend{
		Name: name, Start: start, Close: close,
		noClocks: sync.OnceValue(func() error {
			set, err := start(1, NodeKind{Clocks: []string{"+0"}})
			if err != nil {
				return err
			}
			return errors.Join(tryClock(set), set.Close())
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
