package harness

import (
	"context"
	"sync"
)

// Async runs fn on a goroutine of its own. The channel receives its result.
func Async[T any](fn func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- fn() }()
	return ch
}

// Watched is a context that reports when a caller first waits for its end. By
// then, a command that runs under it has been sent.
type Watched struct {
	context.Context
	Waiting chan struct{} // closed by the first call of Done
	once    *sync.Once
}

// Watch returns ctx as a [Watched].
func Watch(ctx context.Context) Watched { return Watched{ctx, make(chan struct{}), new(sync.Once)} }

// Done is the Done of the context, and closes Waiting.
func (w Watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.Waiting) })
	return w.Context.Done()
}
